//! The seccomp filter of every run: an allow-list as a balanced tree of comparisons over ranges of system call numbers.
//!
//! Calls whose arguments matter:
//! - `clone` and `unshare`: EPERM with a flag for a new namespace (a user namespace would give all capabilities in it);
//! - `clone3`: ENOSYS, since a filter cannot see its flags; the C libraries then use `clone`;
//! - `ioctl`: EPERM for TIOCSTI and TIOCLINUX, which type into the terminal of others;
//! - `socket` and `socketpair`: Unix and IP only, and netlink with protocol 0 (routes and interfaces), which
//!   `getifaddrs` and with it NCCL and Gloo need and which without capabilities only reads; else EAFNOSUPPORT;
//! - `personality`: only asking, the default, and ADDR_NO_RANDOMIZE for debuggers.
//!
//! Calls by another architecture's table (i386 or x32 on x86-64) end the process.

use crate::Result;
use crate::raw::seccomp_install;
use crate::syscalls::{ALLOWED, ALLOWED_BY_NUMBER, ALLOWED_HERE, REFUSED, REFUSED_HERE};
use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Offsets in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const fn argument_at(argument: u32) -> u32 {
    16 + 8 * argument
}

/// Flags that make a namespace: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACES: u32 = 0x7e02_0000;
/// CLONE_NEWTIME; for `unshare` only, in `clone` it is part of the exit signal.
const NEW_TIME: u32 = 0x80;

/// A compiled filter.
#[derive(Debug, Clone)]
pub struct Filter(Vec<sock_filter>);

/// What happens to a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Refuse,
    Unknown,
    Clone,
    Unshare,
    Ioctl,
    Socket,
    SocketPair,
    Personality,
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.cast_unsigned()
}

const fn load(at: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: at }
}
const fn answer(k: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k }
}
/// Jumps over `jt` instructions when the comparison `kind` with `k` holds, else over `jf`.
const fn jump(kind: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | kind | BPF_K) as u16, jt, jf, k }
}

impl Verdict {
    /// The instructions that carry it out; each path ends with an answer.
    fn instructions(self) -> Vec<sock_filter> {
        const PERM: u32 = errno(libc::EPERM);
        match self {
            Self::Allow => vec![answer(ALLOW)],
            Self::Refuse => vec![answer(PERM)],
            Self::Unknown => vec![answer(errno(libc::ENOSYS))],
            Self::Clone => vec![load(argument_at(0)), jump(BPF_JSET, NAMESPACES, 0, 1), answer(PERM), answer(ALLOW)],
            Self::Unshare => {
                vec![load(argument_at(0)), jump(BPF_JSET, NAMESPACES | NEW_TIME, 0, 1), answer(PERM), answer(ALLOW)]
            }
            Self::Ioctl => vec![
                load(argument_at(1)),
                jump(BPF_JEQ, libc::TIOCSTI as u32, 1, 0),
                jump(BPF_JEQ, libc::TIOCLINUX as u32, 0, 1),
                answer(PERM),
                answer(ALLOW),
            ],
            Self::Socket => vec![
                load(argument_at(0)),
                jump(BPF_JEQ, libc::AF_UNIX as u32, 5, 0),
                jump(BPF_JEQ, libc::AF_INET as u32, 4, 0),
                jump(BPF_JEQ, libc::AF_INET6 as u32, 3, 0),
                jump(BPF_JEQ, libc::AF_NETLINK as u32, 0, 3),
                load(argument_at(2)),
                jump(BPF_JEQ, libc::NETLINK_ROUTE as u32, 0, 1),
                answer(ALLOW),
                answer(errno(libc::EAFNOSUPPORT)),
            ],
            Self::SocketPair => vec![
                load(argument_at(0)),
                jump(BPF_JEQ, libc::AF_UNIX as u32, 0, 1),
                answer(ALLOW),
                answer(errno(libc::EAFNOSUPPORT)),
            ],
            Self::Personality => vec![
                load(argument_at(0)),
                jump(BPF_JEQ, u32::MAX, 2, 0),
                sock_filter {
                    code: (BPF_ALU | BPF_AND | BPF_K) as u16,
                    jt: 0,
                    jf: 0,
                    k: !0x0040_0000_u32 & !0x0004_0000,
                },
                jump(BPF_JEQ, 0, 0, 1),
                answer(ALLOW),
                answer(PERM),
            ],
        }
    }
}

/// The verdict of every number that is not unknown, in order.
fn verdicts() -> Vec<(u32, Verdict)> {
    let named = [
        (libc::SYS_clone, Verdict::Clone),
        (libc::SYS_unshare, Verdict::Unshare),
        (libc::SYS_ioctl, Verdict::Ioctl),
        (libc::SYS_socket, Verdict::Socket),
        (libc::SYS_socketpair, Verdict::SocketPair),
        (libc::SYS_personality, Verdict::Personality),
    ];
    let allowed = [ALLOWED, ALLOWED_BY_NUMBER, ALLOWED_HERE].concat().into_iter().map(|call| (call, Verdict::Allow));
    let refused = [REFUSED, REFUSED_HERE].concat().into_iter().map(|call| (call, Verdict::Refuse));
    let mut all: Vec<_> = allowed.chain(refused).chain(named).map(|(call, verdict)| (call as u32, verdict)).collect();
    all.sort_unstable_by_key(|(call, _)| *call);
    all
}

/// The same as ranges that cover all numbers: each begins where it says and ends before the next.
fn ranges() -> Vec<(u32, Verdict)> {
    let mut ranges = vec![(0, Verdict::Unknown)];
    let mut push = |from: u32, verdict: Verdict| match ranges.last_mut() {
        Some(last) if last.0 == from => last.1 = verdict,
        Some(last) if last.1 == verdict => {}
        _ => ranges.push((from, verdict)),
    };
    let all = verdicts();
    for (place, (call, verdict)) in all.iter().enumerate() {
        push(*call, *verdict);
        if all.get(place + 1).is_none_or(|(next, _)| *next != call + 1) {
            push(call + 1, Verdict::Unknown);
        }
    }
    ranges
}

/// A tree of comparisons over `ranges`.
fn tree(ranges: &[(u32, Verdict)]) -> Vec<sock_filter> {
    let [(_, verdict)] = ranges else {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let (low, first_high) = (tree(low), high[0].0);
        let high = tree(high);
        // A conditional jump reaches 255 instructions; a longer way goes over an unconditional one.
        let mut code = match u8::try_from(low.len()) {
            Ok(over) => vec![jump(BPF_JGE, first_high, over, 0)],
            Err(_) => vec![jump(BPF_JGE, first_high, 0, 1), jump(libc::BPF_JA, low.len() as u32, 0, 0)],
        };
        code.extend(low);
        code.extend(high);
        return code;
    };
    verdict.instructions()
}

impl Filter {
    /// The filter of every run.
    pub fn standard() -> Self {
        let mut code = vec![load(ARCHITECTURE_AT), jump(BPF_JEQ, ARCHITECTURE, 1, 0), answer(KILL), load(NUMBER_AT)];
        if cfg!(target_arch = "x86_64") {
            // Bit 30 marks a call by the x32 table.
            code.extend([jump(BPF_JGE, 0x4000_0000, 0, 1), answer(KILL)]);
        }
        code.extend(tree(&ranges()));
        Self(code)
    }

    /// Puts the filter in force for the calling thread and all its future children.
    ///
    /// # Errors
    /// EACCES when `no_new_privs` is not set, ENOSYS and EINVAL where the kernel has no seccomp.
    pub fn install(&self) -> Result<()> {
        seccomp_install(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Carries out a filter as the kernel would.
    fn interpret(filter: &Filter, architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let word = |at: u32| match at {
            NUMBER_AT => number,
            ARCHITECTURE_AT => architecture,
            at => (arguments[(at as usize - 16) / 8] >> (8 * (at % 8))) as u32,
        };
        let (mut accumulator, mut next) = (0u32, 0usize);
        loop {
            let step = filter.0[next];
            next += 1;
            let code = u32::from(step.code);
            let holds = match code & 0x07 {
                BPF_LD => {
                    accumulator = word(step.k);
                    continue;
                }
                BPF_ALU => {
                    accumulator &= step.k;
                    continue;
                }
                BPF_RET => return step.k,
                _ => match code & 0xf0 {
                    BPF_JEQ => accumulator == step.k,
                    BPF_JGE => accumulator >= step.k,
                    BPF_JSET => accumulator & step.k != 0,
                    _ => {
                        next += step.k as usize;
                        continue;
                    }
                },
            };
            next += usize::from(if holds { step.jt } else { step.jf });
        }
    }

    fn call(number: libc::c_long, arguments: [u64; 6]) -> u32 {
        interpret(&Filter::standard(), ARCHITECTURE, number as u32, arguments)
    }

    const PERM: u32 = errno(libc::EPERM);

    #[test]
    fn every_number_gets_the_verdict_of_the_list() {
        let filter = Filter::standard();
        assert!(filter.0.len() < 1000, "{} instructions", filter.0.len());
        let all = verdicts();
        for number in 0..1000 {
            let expected = match all.iter().find(|(call, _)| *call == number) {
                None => errno(libc::ENOSYS),
                Some((_, Verdict::Allow)) => ALLOW,
                Some((_, Verdict::Refuse)) => PERM,
                Some(_) => continue,
            };
            assert_eq!(interpret(&filter, ARCHITECTURE, number, [0; 6]), expected, "call {number}");
        }
    }

    #[test]
    fn no_number_is_listed_twice() {
        for pair in verdicts().windows(2) {
            assert_ne!(pair[0].0, pair[1].0);
        }
    }

    #[test]
    fn arguments_decide_where_they_matter() {
        let with = |place: usize, value: u64| {
            let mut arguments = [0; 6];
            arguments[place] = value;
            arguments
        };
        assert_eq!(call(libc::SYS_clone, with(0, libc::CLONE_NEWUSER as u64)), PERM);
        assert_eq!(call(libc::SYS_clone, with(0, (libc::CLONE_VM | libc::CLONE_THREAD) as u64)), ALLOW);
        assert_eq!(call(libc::SYS_unshare, with(0, 0x80)), PERM);
        assert_eq!(call(libc::SYS_unshare, with(0, libc::CLONE_FS as u64)), ALLOW);
        assert_eq!(call(libc::SYS_ioctl, with(1, libc::TIOCSTI)), PERM);
        assert_eq!(call(libc::SYS_ioctl, with(1, libc::TIOCSTI | 1 << 40)), PERM, "the kernel looks at 32 bits only");
        assert_eq!(call(libc::SYS_ioctl, with(1, libc::TCGETS)), ALLOW);
        assert_eq!(call(libc::SYS_clone3, [0; 6]), errno(libc::ENOSYS));
        assert_eq!(call(libc::SYS_socketpair, with(0, libc::AF_UNIX as u64)), ALLOW);
        assert_eq!(call(libc::SYS_socketpair, with(0, libc::AF_TIPC as u64)), errno(libc::EAFNOSUPPORT));
        for persona in [0, 0x0040_0000, 0x0004_0000, 0xffff_ffff] {
            assert_eq!(call(libc::SYS_personality, with(0, persona)), ALLOW, "{persona:x}");
        }
        assert_eq!(call(libc::SYS_personality, with(0, 8)), PERM);
    }

    #[test]
    fn socket_families_are_limited() {
        let socket = |family: i32, protocol: u64| call(libc::SYS_socket, [family as u64, 2, protocol, 0, 0, 0]);
        for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
            assert_eq!(socket(family, 0), ALLOW, "family {family}");
        }
        for family in [libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG, libc::AF_BLUETOOTH] {
            assert_eq!(socket(family, 0), errno(libc::EAFNOSUPPORT), "family {family}");
        }
        assert_eq!(socket(libc::AF_NETLINK, 9), errno(libc::EAFNOSUPPORT), "audit");
        assert_eq!(socket(libc::AF_INET, 6), ALLOW, "TCP by its number");
    }

    proptest! {
        #[test]
        fn other_architectures_end_the_process(number: u32, architecture: u32) {
            prop_assume!(architecture != ARCHITECTURE);
            prop_assert_eq!(interpret(&Filter::standard(), architecture, number, [0; 6]), KILL);
        }
        #[test]
        fn every_number_is_answered(number: u32, arguments: [u64; 6]) {
            let answer = interpret(&Filter::standard(), ARCHITECTURE, number, arguments);
            prop_assert!(number < 0x4000_0000 || answer == KILL || cfg!(not(target_arch = "x86_64")));
        }
    }
}
