//! Rooms behind a vector's end: what is put follows without a gap, whatever the lengths.

use pytracingx::room::{Room, SHORT_BYTES};

#[test]
fn pieces_of_any_length_follow_each_other() {
    let text: [u8; SHORT_BYTES] = std::array::from_fn(|at| at as u8 + 1);
    for first in 0..=SHORT_BYTES {
        for second in 0..=SHORT_BYTES {
            let mut out = vec![0xee; first];
            let mut room = Room::<{ 4 + 2 * SHORT_BYTES }>::new(&mut out);
            room.put_short(&text[..first]);
            room.put([0xaa, 0xbb]);
            assert_eq!(room.offset(), 2 * first + 2);
            room.put_prefix(text, second);
            room.end();
            assert_eq!(out, [&vec![0xee; first], &text[..first], &[0xaa, 0xbb], &text[..second]].concat());
        }
    }
}

#[test]
fn without_an_end_nothing_is_appended() {
    let mut out = vec![1];
    Room::<8>::new(&mut out).put([2, 3]);
    assert_eq!(out, [1]);
}

#[test]
#[should_panic(expected = "at <= N - M")]
fn what_does_not_fit_is_not_written() {
    let mut out = Vec::new();
    let mut room = Room::<8>::new(&mut out);
    room.put([0; 5]);
    room.put([0; 4]);
}
