//! The main job for real: dependencies from the registry, PPO trained in an isolated run, the policy evaluated on fresh episodes.

use std::path::Path;
use std::time::Duration;
use stoa_testkit::{Stoa, skip};

#[test]
fn an_agent_is_trained_to_the_solved_score() {
    if std::env::var_os("STOA_TEST_TRAINING").is_none() {
        return skip("it downloads PyTorch, about 3 GB; set STOA_TEST_TRAINING=1");
    }
    let stoa = Stoa::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/cartpole_ppo.py");
    stoa.write("cartpole_ppo.py", std::fs::read(example).expect("the example"));
    let run = stoa.stoa(["run", "--name", "agent", "cartpole_ppo.py"]).limit(Duration::from_secs(1200)).run();
    assert_eq!(run.code, 0, "{}\n{}", run.out(), run.err());

    let metrics = stoa.stoa(["metrics", "agent", "--json"]).run().ok().json();
    let summary = &metrics["summary"];
    assert!(summary["score"].as_f64().is_some_and(|score| score >= 475.0), "{summary}");
    assert_eq!(summary["episodes"], 100, "{summary}");
    let curve = |name: &str| {
        metrics["series"].as_array().into_iter().flatten().find(|series| series["summary"]["name"] == name).cloned()
    };
    assert!(curve("rollout/ep_rew_mean").is_some() && curve("system/memory").is_some());
    let record = stoa.record("agent");
    assert!(record["dir"].as_str().is_some_and(|dir| Path::new(dir).join("cartpole_ppo.zip").is_file()), "{record}");
    assert!(record["environment"]["lock"].as_array().is_some_and(|lock| lock.len() > 5), "{record}");
}
