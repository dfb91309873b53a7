//! Futures on the heap without a detour over the stack, some of them in memory that is used again.
//!
//! A future of serving is several thousand octets large and almost all of them have no value yet
//! when it is made. `Box::pin(make())` writes it to the stack first and copies all of it. Here its
//! memory is there before it is made, so that it is made in place. Awaiting a nested future copies
//! it the same way, from where it was made into the future that awaits it: on the way of a request
//! each is pinned where it is made instead, `pin!(make()).await`.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use super::free_list::FreeList;

/// A future on the heap, made where it stays.
#[inline(always)]
pub fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let block = Box::new_uninit();
    Box::into_pin(Box::write(block, make()))
}

/// What blocks are measured in. No future asks for more than its alignment.
#[allow(dead_code, reason = "it is room, and nothing of it is read")]
#[repr(align(16))]
struct Unit([u8; 16]);

/// Memory for a future.
type Block = Box<[MaybeUninit<Unit>]>;

/// Blocks have a multiple of so many units: half a kilobyte.
const STEP: usize = 32;
/// The largest that are kept have so many steps.
const STEPS: usize = 16;
/// So many of each size are kept by each thread: as many as wait for origins at once.
const SPARE: usize = 64;

thread_local! {
    /// By their size in steps, less one.
    static SPARES: [FreeList<Block>; STEPS] = const { [const { FreeList::new(SPARE) }; STEPS] };
}

fn take(steps: usize) -> Block {
    let spare = SPARES.try_with(|spares| spares.get(steps - 1)?.take());
    spare.ok().flatten().unwrap_or_else(|| Box::new_uninit_slice(steps * STEP))
}

fn give_back(block: Block) {
    let steps = block.len() / STEP;
    // A thread that ends has no spares any more.
    let _ = SPARES.try_with(|spares| {
        if let Some(list) = spares.get(steps - 1) {
            list.keep(block);
        }
    });
}

/// A future on the heap whose memory serves the thread's next one of about that size: the allocator
/// takes several hundred instructions for as much as serving needs.
pub struct Reused<F> {
    /// Where it lies: in a block of its own, which is no box as long as it is here.
    future: NonNull<F>,
    steps: usize,
    /// As a box does, which may be moved whatever lies in it.
    owns: PhantomData<Box<F>>,
}

impl<F: Future> Reused<F> {
    /// The future that this makes, made where it stays.
    #[inline(always)]
    pub fn new(make: impl FnOnce() -> F) -> Self {
        const { assert!(align_of::<F>() <= align_of::<Unit>()) };
        let steps = size_of::<F>().div_ceil(STEP * size_of::<Unit>()).max(1);
        let future = NonNull::from(Box::leak(take(steps))).cast::<F>();
        // SAFETY: the block is ours alone, has as much room as a future of this kind takes, and is
        // aligned for it.
        #[allow(unsafe_code)]
        unsafe {
            future.write(make());
        }
        Self { future, steps, owns: PhantomData }
    }
}

// SAFETY: it owns the future as a box does, and shares neither with anybody.
#[allow(unsafe_code)]
unsafe impl<F: Send> Send for Reused<F> {}

impl<F: Future> Future for Reused<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future was written when this was made, nothing else leads to it, and it stays
        // where it is until it is dropped there.
        #[allow(unsafe_code)]
        let future = unsafe { Pin::new_unchecked(self.get_mut().future.as_mut()) };
        future.poll(cx)
    }
}

impl<F> Drop for Reused<F> {
    fn drop(&mut self) {
        let units = self.future.cast::<MaybeUninit<Unit>>();
        let block = NonNull::slice_from_raw_parts(units, self.steps * STEP);
        // SAFETY: the future was written when this was made and is dropped here alone; what it lay
        // in came from a box of that many units.
        #[allow(unsafe_code)]
        let block = unsafe {
            self.future.drop_in_place();
            Box::from_raw(block.as_ptr())
        };
        give_back(block);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;

    fn poll<F: Future>(future: &mut Reused<F>) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_future_goes_on_where_it_stopped_and_its_memory_serves_the_next() {
        let held = Arc::new(());
        let make = |held: &Arc<()>| {
            let held = Arc::clone(held);
            async move {
                let octets = [1u8; 1000];
                let mut is_first = true;
                std::future::poll_fn(|_| match std::mem::take(&mut is_first) {
                    true => Poll::Pending,
                    false => Poll::Ready(()),
                })
                .await;
                drop(held);
                octets.iter().map(|octet| u32::from(*octet)).sum::<u32>()
            }
        };
        let mut first = Reused::new(|| make(&held));
        assert!(poll(&mut first).is_pending());
        assert_eq!((poll(&mut first), Arc::strong_count(&held)), (Poll::Ready(1000), 1));
        let at = first.future;
        drop(first);
        let mut again = Reused::new(|| make(&held));
        assert_eq!(again.future, at);
        // One that is dropped on its way drops what it holds.
        assert!(poll(&mut again).is_pending() && Arc::strong_count(&held) == 2);
        drop(again);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn a_future_has_room_whatever_its_size() {
        async fn of<const N: usize>() -> usize {
            let octets = [7u8; N];
            std::future::ready(()).await;
            octets.iter().filter(|octet| **octet == 7).count()
        }
        fn check<const N: usize>() {
            let mut both = [Reused::new(of::<N>), Reused::new(of::<N>)];
            assert_eq!(both.each_mut().map(poll), [Poll::Ready(N), Poll::Ready(N)]);
        }
        check::<0>();
        check::<500>();
        check::<512>();
        check::<8_000>();
        check::<20_000>();
    }
}
