//! Variables that every run gets, whatever its language.

use crate::Config;
use crate::caller::{Caller, text, variable};
use crate::visible::Visible;
use stoa_core::run::Variable;

/// Variables that thread pools of numeric libraries read; PyTorch follows `OMP_NUM_THREADS`.
const THREADS: [&str; 8] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
];

/// The variables, and the folders they name.
///
/// The folder of the `stoa` module comes last on `PYTHONPATH`: a module of that name beside the script wins. Every run
/// gets it, since `stoa run -- torchrun train.py` imports it too.
pub(crate) fn common(caller: &Caller<'_>, config: &Config, visible: &mut Visible) -> Vec<Variable> {
    let modules = config.home.join("lib/python");
    visible.read(&modules);
    let modules = text(&modules);
    let path = caller.var("PYTHONPATH").map_or_else(|| modules.clone(), |path| format!("{path}:{modules}"));
    let mut env = vec![variable("PYTHONPATH", path)];
    if caller.spec().terminal.is_none() && caller.var("PYTHONUNBUFFERED").is_none() {
        env.push(variable("PYTHONUNBUFFERED", "1"));
    }
    env.extend(threads(caller));
    env
}

/// As many threads as the run may use processors: a pool of 64 threads on 2 processors is slower than one of 2.
fn threads(caller: &Caller<'_>) -> Vec<Variable> {
    let Some(cpus) = caller.spec().limits.cpus else { return Vec::new() };
    let count = cpus.threads().to_string();
    THREADS.iter().filter(|name| !caller.named(name)).map(|name| variable(name, count.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tree, spec};
    use stoa_core::units::Cpus;

    fn value<'a>(env: &'a [Variable], name: &str) -> Option<&'a str> {
        env.iter().find(|variable| variable.name == name).map(|variable| variable.value.as_str())
    }

    #[test]
    fn threads_follow_the_limit_unless_named() {
        let tree = Tree::new();
        let mut spec = spec(tree.path(""), &[("OMP_NUM_THREADS", "64")]);
        assert!(threads(&Caller::new(&spec)).is_empty());
        spec.limits.cpus = Some(Cpus(1500));
        spec.named_env.push(variable("MKL_NUM_THREADS", "7"));
        let env = threads(&Caller::new(&spec));
        assert_eq!(value(&env, "OMP_NUM_THREADS"), Some("2"));
        assert_eq!(value(&env, "MKL_NUM_THREADS"), None);
    }

    #[test]
    fn the_module_folder_comes_last_and_buffering_is_off_without_a_terminal() {
        let tree = Tree::new();
        let mut spec = spec(tree.path(""), &[("PYTHONPATH", "/mine")]);
        let env = common(&Caller::new(&spec), &tree.config(), &mut Visible::default());
        let modules = tree.path("state/lib/python").display().to_string();
        assert_eq!(value(&env, "PYTHONPATH"), Some(format!("/mine:{modules}").as_str()));
        assert_eq!(value(&env, "PYTHONUNBUFFERED"), Some("1"));
        spec.terminal = Some(stoa_core::run::TerminalSize { rows: 24, columns: 80 });
        let env = common(&Caller::new(&spec), &tree.config(), &mut Visible::default());
        assert_eq!(value(&env, "PYTHONUNBUFFERED"), None);
    }
}
