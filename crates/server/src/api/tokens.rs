//! `POST /api/v1/tokens/{jti}/revoke`: one token holds no more, and who came with it is sent away.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use tidings::{Error, Result};

use super::{Api, SentAway};
use crate::token::JTI_BYTES_MAX;

pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    jti: Result<Path<String>, PathRejection>,
) -> Result<Json<SentAway>> {
    let key = api.admin_key(&headers)?;
    let Path(jti) = jti.map_err(|_| Error::new("the token's id in the path is not UTF-8"))?;
    if !(1..=JTI_BYTES_MAX).contains(&jti.len()) {
        return Err(Error::new(format!(
            "a token's id, its `jti`, has 1 to {JTI_BYTES_MAX} bytes"
        )));
    }
    tracing::info!(jti, key = key.name(), "a token is revoked");
    let connections = api.revoke(move |revocations| revocations.revoke_token(&jti)).await?;
    Ok(Json(SentAway { connections }))
}
