//! Pictures of plots: every kind of data, theme and size, as a person sees it.

#[path = "../src/fixture.rs"]
#[expect(dead_code, reason = "shared with the unit tests, which use all of it")]
mod fixture;

use expect_test::{Expect, expect};
use fixture::series;
use proptest::prelude::*;
use stoa_core::metric::Series;
use stoa_view::{ColorDepth, Now, Plot, Theme, Tint, XAxis, to_text};

const UNICODE: Theme = Theme { color: ColorDepth::None, unicode: true };

fn check(plot: &Plot<'_>, expected: &Expect) {
    let lines = plot.render();
    assert_eq!(lines.len(), plot.height);
    assert!(lines.iter().all(|line| line.width() == plot.width));
    expected.assert_eq(&to_text(&lines, plot.theme.color));
}

fn wave(name: &str, shift: f64) -> Series {
    series(name, &(0..200).map(|i| (f64::from(i) / 30.0 + shift).sin() * 2.0 + 3.0).collect::<Vec<_>>())
}

fn noisy() -> Series {
    let value = |i: i32| 3.0 * (-f64::from(i) / 60.0).exp() + f64::from(i * 37 % 11) / 12.0;
    series("train/loss", &(0..300).map(value).collect::<Vec<_>>())
}

fn squares(count: i32, factor: f64) -> Series {
    series("squares", &(0..count).map(|i| f64::from(i * i) * factor).collect::<Vec<_>>())
}

#[test]
fn one_curve() {
    let data = squares(100, 1.0);
    let plot = Plot::new(vec![&data], 70, 12, UNICODE);
    check(
        &plot,
        &expect![[r#"
        ━━ squares 9801
        10k ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ⣀⡠
            │                                                           ⣀⠤⠒⠊
            │                                                      ⣀⠤⠔⠒⠉
            │                                                 ⢀⡠⠤⠒⠊
         5k ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ⢀⣀⠤⠒⠊⠉⠁ ·   ·   ·   ·
            │                                    ⢀⣀⡠⠤⠒⠊⠉⠁
            │                            ⢀⣀⡠⠤⠤⠒⠒⠉⠁
            │                 ⣀⣀⣀⠤⠤⠤⠔⠒⠒⠉⠉⠁
          0 ┤⠔⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠊⠉⠉⠉⠉⠉  ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
            └┬────────────┬────────────┬────────────┬────────────┬────────────
             0           20           40           60           80        step
    "#]],
    );
}

#[test]
fn smoothing_without_colour_dots_the_raw_values() {
    let data = noisy();
    let plot = Plot { smoothing: Some(0.9), ..Plot::new(vec![&data], 70, 14, UNICODE) };
    check(
        &plot,
        &expect![[r#"
        ━━ train/loss 0.6872
          │⢀⠄
          │⡼⠢⢆⡀
          │⠁⠐⢑⠉⠒⣄⡀
          │  ⠐⠁⠑⢔⠉⠢⣄⡀
        2 ┤   · ⠑⠁⢑⢕⠈⠢⠤⡀⢀ ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
          │        ⠁ ⢕⠕⠈⠙⠲⢤⣄⡀⠄⠄ ⢀
          │            ⠅⠑⢑⢕⠕⠉⠑⠓⠦⠤⣄⣀⡀⢄⠄⢀⢄ ⢀⠄ ⢀    ⢀
          │                 ⠁⠁⢑⠅⠕⢕⢑⠈⠉⠉⠒⠒⠢⠦⠤⢄⡤⢄⣀⣀⣀⣀⣀⢀⣀⢔⢔⢀⢄⢅⢔⢐⢀⢔ ⢔⢄⢀⢔⢀⢀⢄⠄⢔⢀⢀⢄⢀⢐⢀
          │                      ⠁ ⠐⠁ ⠕⠁⠑⠕ ⠕⠁⢑⠕⢑⢕⠕⠉⠉⠉⠉⠉⠉⠉⠉⠛⠉⠚⠛⠑⠒⠛⠒⠚⠓⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒
        0 ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·   ⠁   ·⠁ ⠐⠁ ⠁ ⠐⠁ ⠁·⠐⠁⠐·⠁⠁⠁⠐ ⠁⠁
          └┬──────────┬──────────┬──────────┬──────────┬──────────┬───────────
           0         50         100        150        200        250      step
           smoothed 0.9, raw values behind
    "#]],
    );
}

#[test]
fn letters_tell_curves_apart_without_colour() {
    let (a, b, c) = (wave("train/loss", 0.0), wave("eval/loss", 1.5), wave("test/loss", 3.0));
    let plot = Plot { title: "Losses".into(), ..Plot::new(vec![&a, &b, &c], 80, 16, UNICODE) };
    check(
        &plot,
        &expect![[r#"
        Losses       ━━ A train/loss 3.686   ━━ B eval/loss 4.922   ━━ C test/loss 2.586
        5 ┤⠤⠤⠤⠤⣀⡀ ·   · ⣀⡠⠤⠤⠤⠤⠤⠤⣀A·   ·   ·   ·   ·   ·   ·  ⣀⡠C⠤⠤⠤⠤⠤⣀⡀   ·   ⣀⡤⠤⠤⠤⠤⠤⠤B
          │     ⠈⠙⠢⣄⢀⡠⠖⠉         ⠈⠑⠢⣀                    ⢀⡤⠔⠉⠁        ⠉⠑⠢⣄⢀B⠖⠉
          │       ⣀⠖⠙B⡀              ⠑⢢⡀               ⡠⠔⠁              ⡠⠖⠙⠤⡀
        4 ┤   · ⡠⠚·   ⠈⠱⣀ ·   ·   ·   ·⠈⠣⣀·   ·   ·  ⡠⠊⠁  ·   ·   ·   ⡤⠊  · ⠈⠲⡀   ·
          │   ⡠A         ⠓⢄              ⠈⠒⡄       ⡠⠊               ⡰⠊        ⠈⠣⣀    ⡔A
          │⢄⡠⠎            ⠈⠒⡄              ⠈⠲⡀   ⡠⠊              ⢀⡠⠋            ⠈C⣀⡰⠉
        3 ┤⠜⠒⡄·   ·   ·   · ⠈⠲⡀   ·   ·   ·  ⠈⠢⣠⠊ ·   ·   ·   · ⡠⠊·   ·   ·   · ⢀⡠⠋⢢⡀
          │  ⠈⠱⡀              ⠈⠣⡀            C⠎⠈⠢⡀            ⣠⠊               ⡠⠊   ⠈⠦C
          │    ⠈⠣⣀              ⠈⠢⡀        ⡠⠜    ⠉⢢A        ⡠⠎               ⡠⠊
        2 ┤   ·  ⠈⠢⡄  ·   ·   ·   ⠈⠢⡀ ·  ⣠⠒⠁  ·   ·⠈⠦⡀·   ⡠⠚  ·   ·   ·   ⢀⡠⠊ ·   ·
          │        ⠈⠑⢄⡀             ⠈⠓⢄⠤⠊            ⠈⠒⣄⠴B              ⢀⠔⠊
          │           ⠉⠲⠤⣀         ⣀⠤⠒⠉B⠢⢤⣀         ⣀⠴⠒⠁⠙⠢⢄⣀        ⢀A⠔⠚⠁
        1 ┤   ·   ·   ·   ⠉C⠒⠒⠒⠒⠒⠒⠉   ·   ·⠉⠒⠒⠒⠒⠒⠒⠚⠉  ·   ·⠈⠉⠒⠒⠒⠒⠒⠒⠊⠉ ·   ·   ·   ·
          └┬──────┬───────┬──────┬───────┬──────┬───────┬──────┬───────┬──────┬───────
           0     20      40     60      80     100     120    140     160    180    step
    "#]],
    );
}

#[test]
fn ascii_signs_tell_curves_apart() {
    let (a, b, c) = (wave("train/loss", 0.0), wave("eval/loss", 1.5), wave("test/loss", 3.0));
    let plot = Plot { title: "Losses".into(), ..Plot::new(vec![&a, &b, &c], 80, 16, Theme::PLAIN) };
    check(
        &plot,
        &expect![[r#"
        Losses             ** train/loss 3.686   ++ eval/loss 4.922   xx test/loss 2.586
        5 +++++++       **********                           xxxxxxxxx        +++++++++
          |      ++++****        ****                    xxxx         xxxx++++
          |       ***++              ***               xxx              ++xxx
        4 +     ***    ++              ***           xxx             +++    xxx
          |   **         ++              ***       xx               ++        xxx   ***
          |x***            ++              ***   xx              +++            xx***
        3 +**x              +++              ***x              +++              ***xx
          |   xx              +++            xx***            ++              ***   xxx
          |    xxx              +++        xx    ***        ++              ***
        2 +       xx              +++    xxx       ***   +++              ***
          |         xxx             ++++x            ***++              ***
          |           xxxxx        xxxx++++         ++++****        *****
        1 +               xxxxxxxxx        +++++++++       **********
          ++------+-------+------+-------+------+-------+------+------+-------+-------
           0     20      40     60      80     100     120    140    160     180    step
    "#]],
    );
}

#[test]
fn smoothing_in_ascii() {
    let data = noisy();
    let plot = Plot { smoothing: Some(0.9), ..Plot::new(vec![&data], 60, 12, Theme::PLAIN) };
    check(
        &plot,
        &expect![[r#"
        ** train/loss 0.6872
          |**
        3 +*****
          |  ..****.
        2 +    ...*****.
          |      .....******.... .
        1 +          ......************.......................... .
          |                .. ........******************************
        0 +                             . . ........................
          ++--------+---------+--------+--------+---------+---------
           0       50        100      150      200       250    step
           smoothed 0.9, raw values behind
    "#]],
    );
}

#[test]
fn log_scale_drops_and_counts_what_is_not_positive() {
    let data = series("loss", &[1e3, 100.0, 0.0, 1.0, 0.1, -5.0, 1e-3, 1e-4]);
    let plot = Plot { log_y: true, ..Plot::new(vec![&data], 60, 14, UNICODE) };
    check(
        &plot,
        &expect![[r#"
        ━━ loss 1e-4
         10k ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
             │⠤⣀⣀
         100 ┤   ⠉⠉⠒⠒⠤   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
             │
           1 ┤   ·   ·   ·   ·   ·   ⠤⣀⣀ ·   ·   ·   ·   ·   ·   ·
             │                          ⠉⠉⠒⠒⠤
        0.01 ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
             │                                              ⠤⣀⣀
        1e-4 ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   · ⠉⠉⠒⠒⠤
             │
             └┬──────┬───────┬───────┬──────┬───────┬───────┬──────┬
              0      1       2       3      4       5       6   step
              2 values <= 0 not on the log scale
    "#]],
    );
}

#[test]
fn log_scale_within_a_decade() {
    let data = series("loss", &[2.0, 3.0, 5.0, 7.0, 4.0]);
    let plot = Plot { log_y: true, ..Plot::new(vec![&data], 50, 10, UNICODE) };
    check(
        &plot,
        &expect![[r#"
        ━━ loss 4
          │                              ⢀⣀⡠⠤⠔⠒⠤⣀
        5 ┤   ·   ·   ·   ·   ·   ⣀⡠⠤⠔⠒⠊⠉⠁·   ·  ⠉⠒⠤⣀ ·
          │                   ⣀⠤⠒⠉                   ⠉⠒⠤⣀
          │              ⢀⡠⠔⠊⠉                           ⠉
          │          ⣀⠤⠔⠊⠁
          │    ⢀⣀⠤⠔⠊⠉
        2 ┤⣀⠤⠒⠊⠁  ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
          └┬──────────┬───────────┬───────────┬──────────┬
           0          1           2           3       step
    "#]],
    );
}

#[test]
fn nan_and_infinity_are_marked_and_counted() {
    let data = series("loss", &[1.0, 2.0, f64::NAN, f64::NAN, 3.0, f64::INFINITY, 2.0, f64::NEG_INFINITY, 1.0]);
    let plot = Plot::new(vec![&data], 60, 10, UNICODE);
    check(
        &plot,
        &expect![[r#"
        ━━ loss 1
          │                                   ▲
        3 ┤   ·   ·   ·   ·   ·   ·   ·•  ·   ·   ·   ·   ·   ·   ·
          │
        2 ┤   ·  ⣀⠄   ·   ·   ·   ·   ·   ·   ·   ·  •·   ·   ·   ·
          │  ⢀⡠⠒⠉
        1 ┤⠔⠊⠁·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·•
          └┬──────┬──────!──────!──────┬──────┬──────┬──────▼──────┬
           0      1      2      3      4      5      6      7   step
           ! 2 NaN · ! 2 infinite
    "#]],
    );
}

#[test]
fn nan_and_infinity_in_ascii() {
    let data = series("loss", &[1.0, 2.0, f64::NAN, f64::NAN, 3.0, f64::INFINITY, 2.0, f64::NEG_INFINITY, 1.0]);
    let plot = Plot::new(vec![&data], 60, 10, Theme::PLAIN);
    check(
        &plot,
        &expect![[r#"
        ** loss 1
          |                                   ^
        3 +                            *
          |
        2 +      **                                  *
          |  ****
        1 +**                                                      *
          ++------+------!------!------+------+------+------v------+
           0      1      2      3      4      5      6      7   step
           ! 2 NaN | ! 2 infinite
    "#]],
    );
}

#[test]
fn nothing_but_nan() {
    let data = series("loss", &[f64::NAN; 5]);
    let plot = Plot::new(vec![&data], 50, 8, UNICODE);
    check(
        &plot,
        &expect![[r#"
        ━━ loss NaN
         │
         │
         │                nothing to draw
         │
         └!───────────!───────────!──────────!───────────!
          0           1           2          3        step
          ! 5 NaN
    "#]],
    );
}

#[test]
fn a_single_point() {
    let data = series("score", &[0.123]);
    let plot = Plot::new(vec![&data], 50, 8, UNICODE);
    check(
        &plot,
        &expect![[r#"
        ━━ score 0.123
              │
              │
        0.123 ┤   ·   ·   ·   ·   · • ·   ·   ·   ·   ·
              │
              │
              └┬────────────────────┬────────────────────┬
              -1                    0                 step
    "#]],
    );
}

#[test]
fn no_points() {
    let data = series("score", &[]);
    let plot = Plot::new(vec![&data], 50, 8, UNICODE);
    check(
        &plot,
        &expect![[r#"
        ━━ score
         │
         │
         │                 no points yet
         │
         │
         └────────────────────────────────────────────────

    "#]],
    );
}

#[test]
fn no_series() {
    let plot = Plot { title: "nothing".into(), ..Plot::new(Vec::new(), 40, 7, UNICODE) };
    check(
        &plot,
        &expect![[r#"
        nothing
         │
         │
         │            no points yet
         │
         └──────────────────────────────────────

    "#]],
    );
}

#[test]
fn a_constant() {
    let data = series("lr", &[3e-4; 40]);
    let plot = Plot::new(vec![&data], 50, 8, UNICODE);
    check(
        &plot,
        &expect![[r#"
        ━━ lr 3e-4
             │
             │
        3e-4 ┤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤
             │
             │
             └┬──────────┬──────────┬──────────┬──────────
              0         10         20         30      step
    "#]],
    );
}

#[test]
fn a_tiny_range_far_from_zero() {
    let data = series("drift", &(0..50).map(|i| 1e6 + f64::from(i) * 1e-5).collect::<Vec<_>>());
    let plot = Plot::new(vec![&data], 60, 10, UNICODE);
    check(
        &plot,
        &expect![[r#"
        ━━ drift 1M
              │                                                 ⣀⣀⠤⠤
        +4e-4 ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·  ⣀⣀⠤⠤⠤⠔⠒⠊⠉⠉⠉  ·
              │                           ⢀⣀⡠⠤⠤⠔⠒⠒⠉⠉⠉
        +2e-4 ┤   ·   ·   ·   ·⢀⣀⣀⠤⠤⠤⠒⠒⠉⠉⠉⠁   ·   ·   ·   ·   ·   ·
              │      ⣀⣀⠤⠤⠤⠔⠒⠊⠉⠉⠁
           +0 ┤⠔⠒⠊⠉⠉⠉ ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
              └┬─────────┬──────────┬──────────┬──────────┬─────────
               0        10         20         30         40     step
               values: add 1000000
    "#]],
    );
}

#[test]
fn the_largest_range_there_is() {
    let data = series("wild", &[f64::MIN, 0.0, f64::MAX]);
    let plot = Plot::new(vec![&data], 50, 10, UNICODE);
    check(
        &plot,
        &expect![[r#"
            ━━ wild 1.798e308
                   │
             1e300 ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·  ⣀⣀⡠⠤
                   │                           ⢀⣀⣀⠤⠤⠤⠒⠒⠊⠉⠉
                 0 ┤   ·   ·   ·   · ⢀⣀⣀⠤⠤⠔⠒⠒⠉⠉⠁   ·   ·   ·
                   │       ⣀⣀⡠⠤⠤⠒⠒⠊⠉⠉⠁
            -1e300 ┤⠤⠔⠒⠒⠉⠉⠉·   ·   ·   ·   ·   ·   ·   ·   ·
                   └┬────────────────────┬───────────────────┬
                    0                    1                step
                    values beyond 1e300 drawn there
        "#]],
    );
}

#[test]
fn tiny_values() {
    let data = squares(30, 1e-9);
    let plot = Plot::new(vec![&data], 50, 9, UNICODE);
    check(
        &plot,
        &expect![[r#"
        ━━ squares 8.41e-7
             │                                         ⢀⡠⠔
             │                                    ⢀⡠⠔⠒⠉⠁
        5e-7 ┤   ·   ·   ·   ·   ·   ·   ·   ⣀⡠⠤⠒⠊⠁  ·   ·
             │                       ⢀⣀⣀⡠⠤⠒⠊⠉
             │              ⢀⣀⣀⡠⠤⠒⠒⠒⠉⠁
           0 ┤⠤⠒⠒⠒⠒⠒⠒⠒⠒⠒⠉⠉⠉⠉⠁·   ·   ·   ·   ·   ·   ·   ·
             └┬──────┬───────┬──────┬───────┬──────┬──────
              0      5      10     15      20     25  step
    "#]],
    );
}

#[test]
fn a_spike_among_many_points() {
    let mut values = vec![1.0; 10_000];
    values[7_777] = 50.0;
    let data = series("grad_norm", &values);
    let plot = Plot::new(vec![&data], 60, 10, UNICODE);
    check(
        &plot,
        &expect![[r#"
        ━━ grad_norm 1
        60 ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
           │                                           ⡄
        40 ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ⡇   ·   ·   ·
           │                                           ⡇
        20 ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ⡇   ·   ·   ·
           │                                           ⡇
         0 ┤⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠓⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒
           └┬──────────┬──────────┬──────────┬──────────┬──────────┬
            0         2k         4k         6k         8k       step
    "#]],
    );
}

#[test]
fn time_as_axis() {
    let data = squares(600, 1.0);
    let plot = Plot { x: XAxis::Time, ..Plot::new(vec![&data], 60, 9, UNICODE) };
    check(
        &plot,
        &expect![[r#"
        ━━ squares 358.8k
             │                                                 ⣀⡠⠴⠒⠋
             │                                           ⣀⣠⠤⠖⠚⠉⠁
        200k ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·⢀⣀⡠⠤⠖⠚⠉⠁   ·   ·
             │                            ⢀⣀⣠⠤⠴⠒⠚⠉⠉
             │                ⢀⣀⣀⣀⡤⠤⠤⠖⠒⠒⠉⠉⠁
           0 ┤⠖⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠚⠉⠉⠉⠉⠉  ·   ·   ·   ·   ·   ·   ·   ·   ·
             └┬─────────┬──────────┬──────────┬──────────┬──────────
              0        2m         4m         6m         8m      time
    "#]],
    );
}

#[test]
fn the_smallest_size() {
    let data = squares(100, 1.0);
    let plot = Plot::new(vec![&data], 20, 6, UNICODE);
    check(
        &plot,
        &expect![[r#"
        ━━ squares 9801
        10k ┤   ·   ·   ·⢀⣀⠤
         5k ┤   ·   ⢀⣀⡤⠴⠚⠉
          0 ┤⠖⠒⠒⠒⠒⠊⠉⠉   ·
            └┬──────┬───────
             0     50
    "#]],
    );
}

#[test]
fn the_smallest_size_in_ascii() {
    let data = squares(100, 1.0);
    let plot = Plot::new(vec![&data], 20, 6, Theme::PLAIN);
    check(
        &plot,
        &expect![[r#"
        ** squares 9801
        10k +            ***
         5k +       ******
          0 +********
            ++------+-------
             0     50
    "#]],
    );
}

#[test]
fn steps_at_the_end_of_their_range() {
    let mut data = series("far", &[1.0, 2.0]);
    (data.points[0].step, data.points[1].step) = (i64::MIN, i64::MAX);
    let plot = Plot::new(vec![&data], 60, 9, UNICODE);
    check(
        &plot,
        &expect![[r#"
        ━━ far 2
        2.0 ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   · ⢀⣀⣀⣀⠤⠤
            │                                    ⣀⣀⣀⡠⠤⠤⠤⠒⠒⠒⠉⠉⠉⠁
        1.5 ┤   ·   ·   ·   ·   ·  ⢀⣀⣀⣀⠤⠤⠤⠒⠒⠒⠊⠉⠉⠉   ·   ·   ·   ·
            │         ⣀⣀⣀⠤⠤⠤⠔⠒⠒⠒⠉⠉⠉⠁
        1.0 ┤⠤⠤⠒⠒⠒⠊⠉⠉⠉  ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
            └┬──────────────┬─────────────┬──────────────┬──────────
             0           0.5e19        1.0e19         1.5e19    step
             step -9223372036854775808 is 0
    "#]],
    );
}

#[test]
fn many_names_in_a_narrow_legend() {
    let all: Vec<Series> = (0..9).map(|i| wave(&format!("group/metric_number_{i}"), f64::from(i))).collect();
    let plot = Plot::new(all.iter().collect(), 60, 12, UNICODE);
    check(
        &plot,
        &expect![[r#"
        ━━ A …umber_0 3.686   ━━ B …umber_1 4.952
        ━━ C …umber_2 4.423   ━━ D …umber_3 2.586   +5 more
          │                                                       C
          │⢛⡯⢟⣛⠭⣉B⡭⢟⡻⢽⣛⠯⣍⠉⠉G⣻⠽⣒⠪⢍⡉⠉⠉⣩⠭⠖⠪⢭E⠉⠉⣉⠭⠗⠺⠭⣉⠉⠉⢉⡭⢵C⠽D⠋⠉⢉⡩⠽⣛⠯HB
        4 ┤⠁  ⣨A⣯⣭⠺⣅⡀ ·⠙⢢F⡗⢍⡀ ·⠉⢲A⡕⢯⡀ ·  ⣨⠕F⣁ ·  ⣈⠽⢺⣥⠚⠉  ⢀⡭⢺⣭⡖⠉  ⢀A
          │⣤⡴⢋⠤⠚⠁ ⠑C⣉⢢⣤⠖⠁ ⠙⠢⣈H⣤⠔⠋ ⠈⠲⣌⠑⣤D⠊   ⠈⠑⢦⡴⢊I⠞⠉ ⠙⢢⣤⢚⣡⠔⠉ ⠉⠢⣤⠖⣁G
          │⡠⠞⠳⢄⡀   ⡠⠜⠛⢄⡙⠦⡀ ⣠⠴⠛⢦⣉⠢⣄ ⢀⠴⠛⠣⣉⠳⢄ ⢀⡤⠊⣡⠞⠓⢤⡀ ⡠B⣉⠜⠛⠤⡀ ⣠⠔⣉G⠛⠦D
        2 ┤   ·⢉⡢⢔⡋   ·⠈⣳⢜⣛⠧⣀ ·⠈⣑⢼⣛⠣⣄ · ⢙⡦⣛⣻⢔G· ⢀⡠⠟⣛⢴⡊· ⢀⣠⠜E⠤⣚⠁   F
          │⣒⡦⢴⣒⣉⣀⣀⣈⣓⡢D⣒E⣀⣀⣈⣑⣲⠭⣖I⣅⣀⣀B⣲C⣗⣮⣵⣚⣉⣉⣒⣭⣵H⣥⣒⣉A⣀⣬⣽⣲⠭⣒⣋⣁⣀F⣉⣒⠤⣖E
          │
          └┬────────────┬─────────────┬─────────────┬─────────────
           0           50            100           150          step
    "#]],
    );
}

#[test]
fn sixteen_colours() {
    let (a, b) = (wave("a", 0.0), wave("b", 1.0));
    let plot = Plot {
        smoothing: Some(0.5),
        ..Plot::new(vec![&a, &b], 40, 7, Theme { color: ColorDepth::Ansi16, unicode: true })
    };
    check(
        &plot,
        &expect![[r#"
        [1m[94m━━ A[0m a [1m3.686[0m   [1m[33m━━ B[0m b [1m4.952[0m
        [90m6 [0m[90m┤[0m[2m[90m┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈[0m[1m[33mB[0m
        [90m4 [0m[90m┤[0m[1m[94m⣉⣩⠭⠟⠛⠉⠉[0m[1m[33m⠛⠻[0m[1m[94m⠭[0m[1m[33m⣍[0m[1m[94m⣉⠓⠒⠤⢄⣀[0m[2m[90m┈┈┈┈┈┈┈┈┈┈[0m[1m[33m⢀⣀⡤⠴⠒⠋[0m[1m[94m⣉⡩A[0m
        [90m2 [0m[90m┤[0m[1m[94m⠁[0m[2m[90m┈┈┈┈┈┈┈┈┈┈[0m[1m[33m⠈⠙⠒⠦⠤⣈[0m[1m[94m⣉⣒⣦⣤⣄⣀⣠⣤[0m[1m[33m⣖[0m[1m[94m⣊⣉⣠⠤⠖⠚⠉⠁[0m[2m[90m┈[0m
          [90m└┬───────┬────────┬────────┬────────[0m
           [90m0[0m      [90m50[0m       [90m100[0m      [90m150[0m     [90mstep[0m
           [90msmoothed 0.5, raw values behind[0m
    "#]],
    );
}
fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        -10.0..10.0,
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(0.0),
        Just(f64::MAX)
    ]
}

fn any_series() -> impl Strategy<Value = Series> {
    let point = (any::<i64>(), any::<u64>(), any_value());
    let near = (-50i64..50, 0u64..1_000_000, any_value());
    (".{0,12}", prop::collection::vec(prop_oneof![point, near], 0..25)).prop_map(|(name, points)| {
        let mut made = series(&name, &points.iter().map(|(_, _, value)| *value).collect::<Vec<_>>());
        for (point, (step, time, _)) in made.points.iter_mut().zip(points) {
            (point.step, point.time) = (step, time);
        }
        made
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_data_fits_any_size(
        all in prop::collection::vec(any_series(), 0..6), width in 0usize..320, height in 0usize..90, log_y: bool, time: bool,
        unicode: bool, weight in prop::option::of(any::<f64>()), title in ".{0,30}", depth in 0..4usize, first_color: u8,
    ) {
        let color = [ColorDepth::None, ColorDepth::Ansi16, ColorDepth::Ansi256, ColorDepth::TrueColor][depth];
        let plot = Plot {
            log_y, title, smoothing: weight, first_color: first_color.into(),
            x: if time { XAxis::Time } else { XAxis::Step },
            ..Plot::new(all.iter().collect(), width, height, Theme { color, unicode })
        };
        let lines = plot.render();
        prop_assert_eq!(lines.len(), height);
        for line in &lines {
            prop_assert_eq!(line.width(), width);
            prop_assert!(line.spans.iter().all(|span| span.text.chars().all(|c| !c.is_control())));
            prop_assert!(unicode || line.spans.iter().all(|span| span.text.is_ascii() || span.style.tint == Tint::Plain));
        }
    }

    /// The largest and the smallest value leave ink in the rows where they belong, whatever lies around them.
    #[test]
    fn extremes_are_always_drawn(spike in 0usize..5000, width in 30usize..200) {
        let mut values = vec![1.0; 5000];
        values[spike] = 100.0;
        let data = series("x", &values);
        let lines = Plot::new(vec![&data], width, 14, UNICODE).render();
        let has_ink = |line: &stoa_view::Line| line.to_plain().chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c) || c == '•');
        let hundred = lines.iter().find(|line| line.to_plain().contains("100 ┤")).unwrap();
        prop_assert!(has_ink(hundred), "{}", to_text(&lines, ColorDepth::None));
    }
}
