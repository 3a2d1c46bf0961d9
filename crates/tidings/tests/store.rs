//! A server with a store, as an application sees it.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

use std::path::Path;
use std::time::Duration;

use tidings::{Builder, Durability, Io, Retention, StartError, StoreError, Tidings};

fn builder(folder: &Path) -> Builder {
    Tidings::builder()
        .shards(2)
        .store(folder)
        .history(|channel| channel.starts_with("room:").then(|| Retention::new().keep(3)))
}

async fn close(io: Io) {
    io.close().within(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn history_and_ids_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let io = builder(folder.path()).build();
    let mut ids = Vec::new();
    for number in 0..5 {
        let receipt = io.to("room:1").emit("e", number).receipt().await.unwrap().unwrap();
        assert_eq!((receipt.durability, receipt.duplicate), (Durability::Process, false));
        ids.push(receipt.id);
    }
    let receipt = io.to("elsewhere").emit("e", 1).receipt().await.unwrap().unwrap();
    assert_eq!(receipt.durability, Durability::Memory);
    close(io).await;

    let io = builder(folder.path()).durability(Durability::Power).build();
    let page = io.history("room:1").await.unwrap();
    assert_eq!(page.events.iter().map(|event| event.id).collect::<Vec<_>>(), ids[2..]);
    assert_eq!(page.events[0].data.get(), "2");
    assert!(io.history("elsewhere").await.unwrap().events.is_empty());
    let receipt = io.to("room:1").emit("e", 5).receipt().await.unwrap().unwrap();
    assert_eq!(receipt.durability, Durability::Power);
    assert_eq!(receipt.id.epoch(), ids[0].epoch());
    assert!(receipt.id.seq() > ids[4].seq());
    close(io).await;
}

#[tokio::test]
async fn a_store_that_is_in_use_refuses_a_second_server() {
    let folder = tempfile::tempdir().unwrap();
    let io = builder(folder.path()).build();
    let error = builder(folder.path()).try_build().err().unwrap();
    assert!(matches!(error, StartError::Store(StoreError::InUse { .. })), "{error}");
    assert!(error.to_string().contains("in use by another process"));
    close(io).await;
    close(builder(folder.path()).try_build().unwrap()).await;
}

#[tokio::test]
async fn without_durability_there_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let io = builder(&folder.path().join("none"))
        .durability(Durability::Memory)
        .build();
    let receipt = io.to("room:1").emit("e", 1).receipt().await.unwrap().unwrap();
    assert_eq!(receipt.durability, Durability::Memory);
    assert!(!folder.path().join("none").exists());
    close(io).await;
}
