//! A value instead of `Ok(value)`.

use tidings::{Data, Tidings};

fn main() {
    let io = Tidings::builder().build();
    io.on("double", async |Data(number): Data<u64>| number * 2);
}
