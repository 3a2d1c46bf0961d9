//! What is measured.

mod app;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    app::serve(axum::Router::new()).await
}
