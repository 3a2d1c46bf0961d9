//! Who may read and who may publish in which channel: the `[[channels]]` of the configuration.
//!
//! The first rule whose pattern matches decides; where none matches, nobody may. One thing no rule can change: every
//! user may read `user:<sub>`, and nobody else may.

mod history;
mod pace;
mod pattern;

pub(crate) use history::History;
pub(crate) use pace::{By, Form, Pace};
pub(crate) use pattern::{Pattern, PatternError};

use std::time::Duration;

use tidings::{Pacing, Slow};

use crate::template::Template;
use crate::token::Claims;

/// The longest channel name, in bytes.
pub(crate) const CHANNEL_BYTES_MAX: usize = 255;

/// How many events a channel keeps with `--dev`.
const DEV_KEEP: u64 = 1_000;

/// How often what has moved in `cursor:*` is passed on with `--dev`.
const DEV_EVERY: Duration = Duration::from_millis(50);

/// What the name of a user's own channel begins with.
pub(crate) const OWN_CHANNEL_PREFIX: &str = "user:";

/// Who may do something in the channels of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Policy {
    /// Also who has no token, where `[auth] anonymous` lets them connect.
    Anyone,
    /// Who has a token.
    User,
    /// Who has a token that grants the channel in its `channels`.
    Claims,
    /// The user whose `sub` stands where the rule's pattern has `{user}`.
    Owner,
    /// Only the server API.
    #[default]
    Nobody,
}

impl Policy {
    /// Every policy with its name in the configuration.
    pub(crate) const ALL: [(&'static str, Policy); 5] = [
        ("anyone", Policy::Anyone),
        ("user", Policy::User),
        ("claims", Policy::Claims),
        ("owner", Policy::Owner),
        ("nobody", Policy::Nobody),
    ];
}

/// One `[[channels]]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Which channels it is for.
    pub(crate) pattern: Pattern,
    /// Who may subscribe, and see history and presence.
    pub(crate) subscribe: Policy,
    /// Who may publish.
    pub(crate) publish: Policy,
    /// Whether the channels keep who is in them, and tell who joins and leaves.
    pub(crate) presence: bool,
    /// What the channels retain; none: what every channel does.
    pub(crate) history: Option<History>,
    /// How often what is published is passed on; none: each event at once.
    pub(crate) pace: Option<Pace>,
    /// What becomes of clients that can't keep up.
    pub(crate) slow: Slow,
}

/// Why a list of rules can't be meant as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    /// `owner` without `{user}`.
    #[error("`owner` needs `{{user}}` in `match`, which stands for the owner's `sub`, as in `box:{{user}}`")]
    NoUser,
    /// `owner` where two users could own one channel.
    #[error(
        "`{{user}}` in `{0}` could be several parts of one name, so that two users would own one channel: \
         let `:` or the end follow it and every `{{…}}` before it, and no `*` come before it"
    )]
    AmbiguousUser(Pattern),
    /// A policy for reading `user:…` that can't hold.
    #[error(
        "what begins with `user:` is read by the user of exactly that name and nobody else: \
         `match = \"user:{{user}}\"` with `subscribe = \"owner\"` (or none), or another name for the channel"
    )]
    OwnChannel,
    /// An earlier rule takes all it matches.
    #[error("this rule can never match: `{0}` comes first and takes all of it")]
    Unreachable(Pattern),
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// To receive what is published.
    Subscribe,
    /// To read what was published before: who may subscribe may.
    History,
    /// To publish.
    Publish,
    /// To see who is in the channel.
    Presence,
}

impl Action {
    /// The library's action, in the words of the rules.
    ///
    /// # Errors
    /// `forbidden` for one that no rule speaks of.
    pub(crate) fn of(action: tidings::Action) -> tidings::Result<Self> {
        match action {
            tidings::Action::Subscribe => Ok(Self::Subscribe),
            tidings::Action::Publish => Ok(Self::Publish),
            tidings::Action::History => Ok(Self::History),
            tidings::Action::Presence => Ok(Self::Presence),
            _ => Err(tidings::Error::forbidden("no rule allows this")),
        }
    }
}

/// What the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Whether it may be done.
    pub(crate) allowed: bool,
    /// Whether the channel keeps presence, which a subscriber then joins.
    pub(crate) presence: bool,
}

/// The rules, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    /// The rules of `--dev`: `user:{user}` for its owner, everything else for every user, with presence. The newest
    /// events of all are kept, but of `cursor:*` only the latest value of each `data.id`.
    pub(crate) fn dev() -> Self {
        let rule = |text: &str, subscribe, publish, presence| {
            text.parse().ok().map(|pattern| Rule {
                pattern,
                subscribe,
                publish,
                presence,
                history: Some(History::keep(DEV_KEEP)),
                pace: None,
                slow: Slow::Lag,
            })
        };
        let own = rule("user:{user}", Policy::Owner, Policy::Nobody, false);
        let cursors = rule("cursor:*", Policy::User, Policy::User, true).map(|rule| Rule {
            history: None,
            pace: "{data.id}".parse().ok().map(|id| Pace {
                form: Form::Conflate { keep: None },
                every: DEV_EVERY,
                by: Some(By::Field(id)),
            }),
            ..rule
        });
        let all = rule("*", Policy::User, Policy::User, true);
        Self([own, cursors, all].into_iter().flatten().collect())
    }

    /// Adds a rule after the others.
    ///
    /// # Errors
    /// When the rule, after those before it, can't do what it says.
    pub(crate) fn push(&mut self, rule: Rule) -> Result<(), RuleError> {
        let owner = rule.subscribe == Policy::Owner || rule.publish == Policy::Owner;
        if owner && !rule.pattern.names_user() {
            return Err(RuleError::NoUser);
        }
        if owner && !rule.pattern.user_is_unambiguous() {
            return Err(RuleError::AmbiguousUser(rule.pattern));
        }
        let own_channel = rule.pattern.as_str().starts_with(OWN_CHANNEL_PREFIX);
        let whole_user = rule.pattern.as_str() == "user:{user}";
        match rule.subscribe {
            Policy::Nobody => {}
            Policy::Owner if whole_user => {}
            _ if own_channel => return Err(RuleError::OwnChannel),
            _ => {}
        }
        let takes_all = |earlier: &&Rule| earlier.pattern.covers(&rule.pattern);
        if let Some(earlier) = self.0.iter().find(takes_all) {
            return Err(RuleError::Unreachable(earlier.pattern.clone()));
        }
        self.0.push(rule);
        Ok(())
    }

    /// The rule that all channels of a template have, where that can be told.
    pub(crate) fn only(&self, template: &Template) -> Option<&Rule> {
        let pattern: Pattern = template.pattern().parse().ok()?;
        let mut rules = self.0.iter();
        let first = rules.find(|rule| rule.pattern.may_share(&pattern))?;
        first.pattern.covers(&pattern).then_some(first)
    }

    /// The first rule for a channel.
    pub(crate) fn first(&self, channel: &str) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.pattern.matches(channel))
    }

    /// What the first rule that matches lets the channel retain; nothing where clients can't name the channel.
    pub(crate) fn history(&self, channel: &str) -> Option<History> {
        if !is_channel_name(channel) {
            return None;
        }
        self.0.iter().find(|rule| rule.pattern.matches(channel))?.history
    }

    /// How often what is published in the channels is passed on, as the library has it.
    pub(crate) fn paces(&self) -> Paces {
        let of = |rule: &Rule| (rule.pattern.clone(), rule.pace.as_ref().map(Pace::to_pacing));
        match self.0.iter().any(|rule| rule.pace.is_some()) {
            true => Paces(self.0.iter().map(of).collect()),
            false => Paces(Vec::new()),
        }
    }

    /// What becomes of clients that are too slow for a channel.
    pub(crate) fn slow(&self, channel: &str) -> Slow {
        let rule = self.0.iter().find(|rule| rule.pattern.matches(channel));
        rule.filter(|_| is_channel_name(channel))
            .map_or(Slow::Lag, |rule| rule.slow)
    }

    /// Whether a channel keeps who is in it.
    pub(crate) fn keep_presence(&self, channel: &str) -> bool {
        let rule = self.0.iter().find(|rule| rule.pattern.matches(channel));
        rule.is_some_and(|rule| rule.presence)
    }

    /// All of them, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// The one that decides about a channel, if any.
    pub(crate) fn of(&self, channel: &str) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.pattern.matches(channel))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `user` (none: an anonymous client) may do `action` in `channel`.
    ///
    /// A name that no channel can have is refused like one that is forbidden.
    pub(crate) fn decide(&self, action: Action, channel: &str, user: Option<&Claims>) -> Decision {
        if !is_channel_name(channel) {
            return Decision {
                allowed: false,
                presence: false,
            };
        }
        let rule = self.0.iter().find(|rule| rule.pattern.matches(channel));
        let presence = rule.is_some_and(|rule| rule.presence);
        let allowed = match (action, channel.strip_prefix(OWN_CHANNEL_PREFIX)) {
            (Action::Publish, _) => rule.is_some_and(|rule| rule.allows(rule.publish, action, channel, user)),
            (_, Some(owner)) => user.is_some_and(|user| user.sub == owner),
            (_, None) => rule.is_some_and(|rule| rule.allows(rule.subscribe, action, channel, user)),
        };
        let allowed = allowed && (action != Action::Presence || presence);
        Decision { allowed, presence }
    }
}

/// The pace of each rule's channels; empty where none has one.
#[derive(Debug)]
pub(crate) struct Paces(Vec<(Pattern, Option<Pacing>)>);

impl Paces {
    /// How often what is published in a channel is passed on; none: each event at once.
    pub(crate) fn of(&self, channel: &str) -> Option<Pacing> {
        let (_, pacing) = self.0.iter().find(|(pattern, _)| pattern.matches(channel))?;
        pacing.clone().filter(|_| is_channel_name(channel))
    }
}

impl Rule {
    fn allows(&self, policy: Policy, action: Action, channel: &str, user: Option<&Claims>) -> bool {
        match (policy, user) {
            (Policy::Anyone, _) | (Policy::User, Some(_)) => true,
            (Policy::Claims, Some(user)) => user.grants(action, channel),
            (Policy::Owner, Some(user)) => self.pattern.matches_user(channel, &user.sub),
            (Policy::Nobody, _) | (_, None) => false,
        }
    }
}

/// Whether clients can name such a channel: 1 to 255 bytes, no control characters, no `/` first.
pub(crate) fn is_channel_name(name: &str) -> bool {
    (1..=CHANNEL_BYTES_MAX).contains(&name.len()) && !name.starts_with('/') && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Grants;
    use Action::{Presence, Publish, Subscribe};

    fn rule(text: &str, subscribe: Policy, publish: Policy, presence: bool) -> Rule {
        Rule {
            pattern: text.parse().unwrap(),
            subscribe,
            publish,
            presence,
            history: None,
            pace: None,
            slow: Slow::Lag,
        }
    }

    fn rules(list: &[(&str, Policy, Policy, bool)]) -> Rules {
        let mut rules = Rules::default();
        for (text, subscribe, publish, presence) in list {
            rules.push(rule(text, *subscribe, *publish, *presence)).unwrap();
        }
        rules
    }

    fn claims(sub: &str, subscribe: &[&str], publish: &[&str]) -> Claims {
        let patterns = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        let channels = Grants {
            subscribe: patterns(subscribe),
            publish: patterns(publish),
        };
        Claims {
            sub: sub.to_owned(),
            exp: 0,
            channels,
            info: None,
            jti: None,
            iat: None,
        }
    }

    fn check(rules: &Rules, user: Option<&Claims>, table: &[(Action, &str, bool)]) {
        for (action, channel, allowed) in table {
            let decision = rules.decide(*action, channel, user);
            assert_eq!(
                decision.allowed,
                *allowed,
                "{action:?} {channel} as {:?}",
                user.map(|user| &user.sub)
            );
        }
    }

    #[test]
    fn each_policy_lets_in_whom_it_names() {
        let rules = rules(&[
            ("open:*", Policy::Anyone, Policy::Anyone, false),
            ("users:*", Policy::User, Policy::User, true),
            ("room:*", Policy::Claims, Policy::Claims, true),
            ("box:{user}", Policy::Owner, Policy::Owner, false),
            ("news", Policy::Anyone, Policy::Nobody, false),
        ]);
        let ann = claims("ann", &["room:*"], &["room:7"]);
        check(
            &rules,
            Some(&ann),
            &[
                (Subscribe, "open:1", true),
                (Publish, "open:1", true),
                (Presence, "open:1", false),
                (Subscribe, "users:1", true),
                (Publish, "users:1", true),
                (Presence, "users:1", true),
                (Subscribe, "room:1", true),
                (Publish, "room:1", false),
                (Publish, "room:7", true),
                (Presence, "room:1", true),
                (Subscribe, "box:ann", true),
                (Publish, "box:ann", true),
                (Subscribe, "box:anna", false),
                (Subscribe, "box:bob", false),
                (Subscribe, "news", true),
                (Publish, "news", false),
                (Subscribe, "other", false),
                (Publish, "other", false),
            ],
        );
        check(
            &rules,
            None,
            &[
                (Subscribe, "open:1", true),
                (Publish, "open:1", true),
                (Subscribe, "users:1", false),
                (Publish, "users:1", false),
                (Presence, "users:1", false),
                (Subscribe, "room:7", false),
                (Publish, "room:7", false),
                (Subscribe, "box:ann", false),
                (Subscribe, "news", true),
                (Subscribe, "user:ann", false),
                (Subscribe, "user:", false),
            ],
        );
        check(
            &rules,
            Some(&claims("bob", &[], &[])),
            &[(Subscribe, "room:7", false), (Presence, "room:7", false)],
        );
    }

    #[test]
    fn the_first_match_wins() {
        let rules = rules(&[
            ("room:staff", Policy::Nobody, Policy::Nobody, false),
            ("*", Policy::User, Policy::User, true),
        ]);
        let ann = claims("ann", &[], &[]);
        check(
            &rules,
            Some(&ann),
            &[(Subscribe, "room:staff", false), (Subscribe, "room:1", true)],
        );
        assert!(!rules.decide(Subscribe, "room:staff", Some(&ann)).presence);
        assert!(rules.decide(Subscribe, "room:1", Some(&ann)).presence);
    }

    #[test]
    fn a_users_own_channel_is_read_by_that_user_alone_whatever_the_rules() {
        let everything = rules(&[("*", Policy::Anyone, Policy::User, true)]);
        for rules in [&Rules::default(), &everything, &Rules::dev()] {
            for (sub, channel, allowed) in [
                ("ann", "user:ann", true),
                ("bob", "user:ann", false),
                ("ann", "user:ann:notes", false),
                ("ann:notes", "user:ann:notes", true),
                ("ann", "user:", false),
            ] {
                let user = claims(sub, &["*", "user:*"], &[]);
                check(rules, Some(&user), &[(Subscribe, channel, allowed)]);
            }
            check(
                rules,
                None,
                &[(Subscribe, "user:ann", false), (Presence, "user:ann", false)],
            );
        }
        let ann = claims("ann", &[], &[]);
        check(
            &everything,
            Some(&ann),
            &[(Publish, "user:bob", true), (Presence, "user:ann", true)],
        );
        check(
            &Rules::dev(),
            Some(&ann),
            &[(Publish, "user:bob", false), (Publish, "user:ann", false)],
        );
    }

    #[test]
    fn user_in_a_claim_is_the_tokens_own_user() {
        let rules = rules(&[("*", Policy::Claims, Policy::Claims, false)]);
        let ann = claims("ann", &["doc:{user}:{page}"], &[]);
        check(
            &rules,
            Some(&ann),
            &[(Subscribe, "doc:ann:1", true), (Subscribe, "doc:bob:1", false)],
        );
    }

    #[test]
    fn the_first_match_says_the_pace_too() {
        let free_for_all = rules(&[("*", Policy::User, Policy::User, false)]);
        assert!(free_for_all.paces().0.is_empty() && free_for_all.slow("a") == Slow::Lag);
        let mut paced = Rules::default();
        let free = rule("cursor:slow", Policy::User, Policy::User, false);
        let conflated = Rule {
            pace: Some(Pace {
                form: Form::Conflate { keep: None },
                every: DEV_EVERY,
                by: None,
            }),
            ..rule("cursor:*", Policy::User, Policy::User, false)
        };
        for rule in [free, conflated] {
            paced.push(rule).unwrap();
        }
        let paces = paced.paces();
        for (channel, is_paced) in [
            ("cursor:1", true),
            ("cursor:slow", false),
            ("room:1", false),
            ("cursor:\n", false),
            ("/n,cursor:1", false),
        ] {
            assert_eq!(paces.of(channel).is_some(), is_paced, "{channel}");
        }
    }

    #[test]
    fn dev_lets_every_user_do_all_but_read_others() {
        let ann = claims("ann", &[], &[]);
        let rules = Rules::dev();
        check(
            &rules,
            Some(&ann),
            &[(Subscribe, "room:1", true), (Publish, "x", true), (Presence, "x", true)],
        );
        check(&rules, None, &[(Subscribe, "room:1", false), (Publish, "x", false)]);
    }

    #[test]
    fn names_no_channel_can_have_are_refused() {
        let rules = rules(&[("*", Policy::Anyone, Policy::Anyone, true)]);
        let longest = "x".repeat(CHANNEL_BYTES_MAX);
        check(
            &rules,
            None,
            &[(Subscribe, &longest, true), (Subscribe, "größe 1", true)],
        );
        for name in ["", "/", "/n,r", "a\nb", "a\u{85}b", &format!("{longest}x")] {
            check(
                &rules,
                None,
                &[
                    (Subscribe, name, false),
                    (Publish, name, false),
                    (Presence, name, false),
                ],
            );
            assert!(!rules.decide(Subscribe, name, None).presence);
        }
    }

    #[test]
    fn the_first_match_says_what_is_kept() {
        let mut rules = Rules::default();
        for (text, history) in [("room:staff", None), ("room:*", Some(7)), ("*", Some(8))] {
            let history = history.map(History::keep);
            let rule = rule(text, Policy::Nobody, Policy::Nobody, false);
            rules.push(Rule { history, ..rule }).unwrap();
        }
        for (channel, keep) in [
            ("room:staff", None),
            ("room:1", Some(7)),
            ("x", Some(8)),
            ("/", None),
            ("/n,room:1", None),
        ] {
            assert_eq!(rules.history(channel), keep.map(History::keep), "{channel}");
        }
    }

    #[test]
    fn rules_that_cannot_hold_are_refused() {
        let mut list = rules(&[("room:*", Policy::User, Policy::User, false)]);
        for (text, subscribe, publish, error) in [
            ("box:{id}", Policy::Owner, Policy::Nobody, RuleError::NoUser),
            ("box:*", Policy::Nobody, Policy::Owner, RuleError::NoUser),
            (
                "*:{user}",
                Policy::Owner,
                Policy::Nobody,
                RuleError::AmbiguousUser("*:{user}".parse().unwrap()),
            ),
            ("user:{user}", Policy::User, Policy::Nobody, RuleError::OwnChannel),
            ("user:*", Policy::Anyone, Policy::Nobody, RuleError::OwnChannel),
            ("user:{user}:x", Policy::Owner, Policy::Nobody, RuleError::OwnChannel),
            (
                "room:*",
                Policy::Nobody,
                Policy::Nobody,
                RuleError::Unreachable("room:*".parse().unwrap()),
            ),
        ] {
            assert_eq!(list.push(rule(text, subscribe, publish, false)), Err(error), "{text}");
        }
        list.push(rule("user:{user}", Policy::Nobody, Policy::User, false))
            .unwrap();
        list.push(rule("*", Policy::Nobody, Policy::Nobody, false)).unwrap();
        let late = list.push(rule("late", Policy::User, Policy::User, false));
        assert_eq!(late, Err(RuleError::Unreachable("*".parse().unwrap())));
    }
}
