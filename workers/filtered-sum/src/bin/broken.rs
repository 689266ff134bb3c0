//! The same process, broken in the way that `NARU_BROKEN` says: the verifier must find it.

#[path = "../main.rs"]
mod whole;

fn main() -> std::process::ExitCode {
    whole::main()
}
