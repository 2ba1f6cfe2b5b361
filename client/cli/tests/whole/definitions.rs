//! The page about job definitions, in its order, as a user would: each example is created, executed, and shows what it
//! says that it shows.

use crate::{
    desk::{Desk, root},
    readme::{blocks, shows, typed},
    world::ready,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_example_of_a_job_definition_does_what_it_says() {
    let desk = Desk::new();
    desk.install("octavius", "#!/bin/sh\nexec target/debug/octavius \"$@\"\n");
    let _controller = desk
        .open("OCTAVIUS_CONTROLLER_STORE=embedded target/debug/controller start", "controller.out");
    let runner = "OCTAVIUS_EXECUTOR_RUNNER=process target/debug/executor start";
    let executor = desk.open(runner, "executor.out");
    let unready = ready(&desk.client()).await;
    assert_eq!(unready, Ok(()), "{}", executor.said());
    let configured =
        desk.with_ports("octavius config --cp-host localhost:3000 --email-id you@example.com");
    assert!(desk.run(&configured).await.status.success());

    let page = std::fs::read_to_string(root().join("docs/job-definitions.md")).unwrap();
    let blocks = blocks(&page);
    assert_eq!(blocks.len(), 10, "the page promises ten examples");
    for block in blocks {
        let output = typed(&desk, &block).await;
        let (line, text) = (block.line, &block.text);
        let shown = block.shows.as_deref().expect("each example shows something");
        assert!(shows(shown, &output), "line {line}: {text}\nshown:\n{shown}\nseen:\n{output}");
    }
}
