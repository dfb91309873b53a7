//! Reads the arguments, calls one function, returns its exit code.

fn main() -> std::process::ExitCode {
    foreshore::cli::main()
}
