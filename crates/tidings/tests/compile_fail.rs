//! Mistakes that applications make, and what the compiler says about them: the messages are part of the API.
//!
//! They are those of the compiler that wrote them: after an update, `TRYBUILD=overwrite cargo test -p tidings --test compile_fail`
//! writes them anew, and a look at the difference tells whether they still help.

#[test]
fn mistakes_get_a_readable_message() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
