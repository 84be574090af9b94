//! Reads the `#!` line of a script, including `/usr/bin/env` and `env -S`.

/// The kernel reads no more of the first line than this (`BINPRM_BUF_SIZE`).
const KERNEL_LIMIT: usize = 256;

/// A parsed `#!` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shebang {
    /// The program in the line, as written: `/bin/bash`, `/usr/bin/env`.
    pub(crate) interpreter: String,
    /// What follows it; one argument for the kernel.
    pub(crate) argument: Option<String>,
    /// Whether the line ends in `\r`, which the kernel takes for a part of the name.
    pub(crate) carriage_return: bool,
}

/// Parses the first line of a file; `None` when it is no `#!` line.
pub(crate) fn parse(head: &[u8]) -> Option<Shebang> {
    let rest = head.strip_prefix(b"#!")?;
    let line = rest.split(|&byte| byte == b'\n').next()?;
    let line = String::from_utf8_lossy(&line[..line.len().min(KERNEL_LIMIT)]).into_owned();
    let carriage_return = line.ends_with('\r');
    let line = line.trim();
    let (interpreter, argument) = match line.split_once([' ', '\t']) {
        Some((interpreter, argument)) => (interpreter, Some(argument.trim().to_owned())),
        None => (line, None),
    };
    (!interpreter.is_empty()).then(|| Shebang { interpreter: interpreter.to_owned(), argument, carriage_return })
}

impl Shebang {
    /// The program that ends up running and its arguments: `env` is looked through.
    pub(crate) fn program(&self) -> Option<(String, Vec<String>)> {
        let base = self.interpreter.rsplit('/').next()?;
        if base != "env" {
            return Some((self.interpreter.clone(), self.argument.iter().cloned().collect()));
        }
        let argument = self.argument.as_deref()?;
        let split = argument.strip_prefix("-S").or_else(|| argument.strip_prefix("--split-string="));
        let Some(words) = split else {
            return Some((argument.to_owned(), Vec::new()));
        };
        let mut words = words.split_whitespace().skip_while(|word| word.contains('=')).map(str::to_owned);
        Some((words.next()?, words.collect()))
    }

    /// Whether this line runs a Python script: `python3`, or `uv run`.
    pub(crate) fn is_python(&self) -> bool {
        let Some((program, args)) = self.program() else { return false };
        let base = program.rsplit('/').next().unwrap_or_default();
        base.starts_with("python") || base.starts_with("pypy") || (base == "uv" && args.iter().any(|arg| arg == "run"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(line: &str) -> Option<(String, Vec<String>)> {
        parse(line.as_bytes())?.program()
    }

    #[test]
    fn the_program_is_found_behind_env() {
        let found = |name: &str, args: &[&str]| Some((name.into(), args.iter().map(|arg| (*arg).into()).collect()));
        assert_eq!(program("#!/bin/bash\necho"), found("/bin/bash", &[]));
        assert_eq!(program("#! /bin/bash -eu\n"), found("/bin/bash", &["-eu"]));
        assert_eq!(program("#!/usr/bin/env node\n"), found("node", &[]));
        assert_eq!(program("#!/usr/bin/env -S A=1 deno run -A\n"), found("deno", &["run", "-A"]));
        assert_eq!(program("#!/usr/bin/env"), None);
        assert_eq!(program("#!\n"), None);
        assert_eq!(program("echo"), None);
    }

    #[test]
    fn python_is_recognised() {
        for line in ["#!/usr/bin/python3 -u", "#!/usr/bin/env python3.12", "#!/usr/bin/env -S uv run --script"] {
            assert!(parse(line.as_bytes()).unwrap().is_python(), "{line}");
        }
        assert!(!parse(b"#!/bin/sh").unwrap().is_python());
        assert!(!parse(b"#!/usr/bin/env -S uv pip").unwrap().is_python());
    }

    #[test]
    fn a_windows_line_break_is_noticed() {
        assert!(parse(b"#!/bin/sh\r\n").unwrap().carriage_return);
    }
}
