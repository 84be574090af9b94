//! The program `stoa-warden`, started by the daemon with a socket as descriptor 3.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    stoa_warden::run()
}
