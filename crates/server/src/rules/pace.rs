//! How often what is published in a channel is passed on.

use std::time::Duration;

use serde_json::value::RawValue;
use tidings::{Edge, Pacing, Result};

use crate::template::Template;

/// The `conflate`, `throttle` or `debounce` of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) form: Form,
    /// The time within which one event goes through; or none comes, for `debounce`.
    pub(crate) every: Duration,
    /// Which events replace which; none: all of a channel do.
    pub(crate) by: Option<By>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The latest values, each kept for so long after its last change.
    Conflate {
        keep: Option<Duration>,
    },
    Throttle {
        edge: Edge,
    },
    Debounce,
}

/// What events of one key have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// The event's name.
    Event,
    /// The publisher, or a field of the data.
    Field(Template),
}

impl Pace {
    /// As the library takes it.
    pub(crate) fn to_pacing(&self) -> Pacing {
        let pacing = match self.form {
            Form::Conflate { keep: None } => Pacing::conflate(self.every),
            Form::Conflate { keep: Some(keep) } => Pacing::conflate(self.every).keep(keep),
            Form::Throttle { edge } => Pacing::throttle(self.every).edge(edge),
            Form::Debounce => Pacing::debounce(self.every),
        };
        match self.by.clone() {
            None => pacing,
            Some(By::Event) => pacing.by(|event| Ok(event.event.to_owned())),
            Some(By::Field(template)) => pacing.by(move |event| key(&template, event.data, event.user)),
        }
    }
}

/// What the server API publishes has no user, which is a key too.
fn key(template: &Template, data: &str, user: Option<&str>) -> Result<String> {
    // It is JSON: it was read before.
    let data: &RawValue = serde_json::from_str(data)?;
    template.fill(data, Some(user.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_field_or_who_published() {
        let field = "{data.id}".parse().unwrap();
        assert_eq!(key(&field, r#"{"id":7,"x":1}"#, None).unwrap(), "7");
        assert_eq!(
            key(&field, r#"{"x":1}"#, Some("ann")).unwrap_err().code(),
            "bad_request"
        );
        let user = "{user}".parse().unwrap();
        assert_eq!(key(&user, "1", Some("ann")).unwrap(), "ann");
        assert_eq!(key(&user, "1", None).unwrap(), "");
    }
}
