//! Pure: the Huffman code of RFC 7541 Appendix B, for reading.
//!
//! The code is canonical: the lengths say all, the codes follow. Most octets of real fields take
//! eight bits or fewer and are found by one look into a table.

use super::BadBlock;

const EOS: u16 = 256;
const SYMBOLS: usize = 257;
const LONGEST: usize = 30;

/// Bits of each symbol's code.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

struct Code {
    /// By the next eight bits: length and symbol of the code they begin with, or 0 if that is
    /// longer.
    short: [u16; 256],
    /// By length: the first code, how many there are, and where their symbols begin in `symbols`.
    first: [u32; LONGEST + 1],
    count: [u32; LONGEST + 1],
    offset: [u32; LONGEST + 1],
    symbols: [u16; SYMBOLS],
}

static CODE: Code = build();

const fn build() -> Code {
    let mut code = Code {
        short: [0; 256],
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        offset: [0; LONGEST + 1],
        symbols: [0; SYMBOLS],
    };
    let (mut next, mut placed, mut len) = (0u32, 0usize, 1usize);
    while len <= LONGEST {
        next <<= 1;
        code.first[len] = next;
        code.offset[len] = placed as u32;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == len {
                code.symbols[placed] = symbol as u16;
                placed += 1;
                if len <= 8 {
                    let mut fill = 0;
                    while fill < 1 << (8 - len) {
                        code.short[((next as usize) << (8 - len)) + fill] =
                            ((len as u16) << 8) | symbol as u16;
                        fill += 1;
                    }
                }
                code.count[len] += 1;
                next += 1;
            }
            symbol += 1;
        }
        len += 1;
    }
    code
}

/// Reads a coded string; what it says is added to `out`.
pub fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), BadBlock> {
    // The next bits, first bit highest, and how many of them are real.
    let (mut bits, mut held) = (0u64, 0usize);
    let mut rest = coded.iter();
    loop {
        while held <= 56
            && let Some(byte) = rest.next()
        {
            bits |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        // Fewer than eight bits, all ones, at the end: padding (§5.2). No code is that short and
        // all ones.
        if held < 8 && bits.leading_ones() as usize >= held {
            return Ok(());
        }
        let short = CODE.short[(bits >> 56) as usize];
        let (symbol, len) =
            if short != 0 { (short & 0xff, (short >> 8) as usize) } else { long(bits)? };
        if len > held || symbol == EOS {
            return Err(BadBlock("a Huffman-coded string that ends within a code"));
        }
        out.push(symbol as u8);
        bits <<= len;
        held -= len;
    }
}

fn long(bits: u64) -> Result<(u16, usize), BadBlock> {
    for len in 9..=LONGEST {
        let code = (bits >> (64 - len)) as u32;
        let at = code.wrapping_sub(CODE.first[len]);
        if at < CODE.count[len] {
            return Ok((CODE.symbols[(CODE.offset[len] + at) as usize], len));
        }
    }
    Err(BadBlock("no Huffman code"))
}

#[cfg(test)]
pub fn encode(plain: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u64, 0usize);
    for symbol in plain {
        let len = LENGTHS[*symbol as usize] as usize;
        let rank = (0..usize::from(*symbol)).filter(|other| LENGTHS[*other] as usize == len).count()
            as u32;
        bits = (bits << len) | u64::from(CODE.first[len] + rank);
        held += len;
        while held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    if held > 0 {
        out.push(((bits << (8 - held)) as u8) | (0xff >> held));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, BadBlock> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    #[test]
    fn rfc7541_c4_examples() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&coded).unwrap(), b"www.example.com");
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), b"no-cache");
    }

    #[test]
    fn rfc7541_5_2_padding_is_short_and_all_ones() {
        assert_eq!(decoded(&[]).unwrap(), b"");
        assert!(decoded(&[0xff]).is_err(), "eight bits of padding");
        // 'a' is 00011; what follows must be ones.
        assert_eq!(decoded(&[0b0001_1111]).unwrap(), b"a");
        assert!(decoded(&[0b0001_1110]).is_err());
        assert!(decoded(&[0xff, 0xff, 0xff, 0xff]).is_err(), "EOS itself");
    }

    #[test]
    fn every_octet_survives() {
        let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        let mut coded = Vec::new();
        encode(&all, &mut coded);
        assert_eq!(decoded(&coded).unwrap(), all);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(plain in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut coded = Vec::new();
            encode(&plain, &mut coded);
            prop_assert_eq!(decoded(&coded).unwrap(), plain);
        }

        #[test]
        fn arbitrary_octets_never_panic(coded in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decoded(&coded);
        }
    }
}
