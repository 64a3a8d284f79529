;; Writes float32 numbers as JSON: the fewest digits that mean this float32 and no other, and of those the nearest, in the
;; form in which JavaScript writes numbers. Digits as in Raffaello Giulietti, "The Schubfach way to render doubles" (2021),
;; whose names are kept: no division by anything but ten, and one multiplication of 64 by 32 bits for each of three bounds.
;;
;; Memory: 77 powers of ten at 0, 10^-31 to 10^45, each as the upper 64 bits of its binary digits, rounded up (g in the
;; paper), which the caller writes there; pairs of digits at 640; from 1024 on it is the caller's. A number and the comma before it take 24 bytes at most.
(module
  (memory (export "memory") 2)

  ;; The upper 32 of the 96 bits of a product, odd if any bit below was set that matters.
  (func $round_to_odd (param $g i64) (param $cp i64) (result i32)
    (local $middle i64)
    (local.set $middle (i64.add
      (i64.mul (i64.shr_u (local.get $g) (i64.const 32)) (local.get $cp))
      (i64.shr_u
        (i64.mul (i64.and (local.get $g) (i64.const 0xffffffff)) (local.get $cp))
        (i64.const 32))))
    (i32.or
      (i32.wrap_i64 (i64.shr_u (local.get $middle) (i64.const 32)))
      (i32.gt_u (i32.wrap_i64 (local.get $middle)) (i32.const 1))))

  ;; The two digits of each number below 100.
  (data (i32.const 640)
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899")

  ;; How many digits a number has that has nine at most; most have all that a float32 can have.
  (func $count_digits (param $digits i32) (result i32)
    (local $count i32) (local $bound i32)
    (local.set $count (i32.const 9))
    (local.set $bound (i32.const 100000000))
    (block $end
      (loop $next
        (br_if $end (i32.ge_u (local.get $digits) (local.get $bound)))
        (br_if $end (i32.eq (local.get $count) (i32.const 1)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (local.set $bound (i32.div_u (local.get $bound) (i32.const 10)))
        (br $next)))
    (local.get $count))

  ;; Writes the last $count digits of $digits. Returns those before them.
  (func $write_digits (param $at i32) (param $digits i32) (param $count i32) (result i32)
    (local $quotient i32)
    (block $end
      (loop $next
        (br_if $end (i32.lt_u (local.get $count) (i32.const 2)))
        (local.set $count (i32.sub (local.get $count) (i32.const 2)))
        (local.set $quotient (i32.div_u (local.get $digits) (i32.const 100)))
        (i32.store16 align=1
          (i32.add (local.get $at) (local.get $count))
          (i32.load16_u offset=640
            (i32.shl
              (i32.sub (local.get $digits) (i32.mul (local.get $quotient) (i32.const 100)))
              (i32.const 1))))
        (local.set $digits (local.get $quotient))
        (br $next)))
    (if (local.get $count)
      (then
        (local.set $quotient (i32.div_u (local.get $digits) (i32.const 10)))
        (i32.store8
          (local.get $at)
          (i32.add
            (i32.sub (local.get $digits) (i32.mul (local.get $quotient) (i32.const 10)))
            (i32.const 0x30)))
        (local.set $digits (local.get $quotient))))
    (local.get $digits))

  ;; Writes $digits times ten to the power of $exponent at $at. Returns where the text ends.
  (func $write_decimal (param $at i32) (param $digits i32) (param $exponent i32) (result i32)
    (local $count i32) (local $point i32) (local $quotient i32)
    (block $stripped
      (loop $next
        (local.set $quotient (i32.div_u (local.get $digits) (i32.const 10)))
        (br_if $stripped (i32.ne (i32.mul (local.get $quotient) (i32.const 10)) (local.get $digits)))
        (local.set $digits (local.get $quotient))
        (local.set $exponent (i32.add (local.get $exponent) (i32.const 1)))
        (br $next)))
    (local.set $count (call $count_digits (local.get $digits)))
    ;; How many of the digits stand before the point.
    (local.set $point (i32.add (local.get $count) (local.get $exponent)))

    (if (i32.and (i32.gt_s (local.get $point) (i32.const -6)) (i32.le_s (local.get $point) (i32.const 0)))
      (then
        (i64.store align=1 (local.get $at) (i64.const 0x303030303030_2e30))
        (local.set $at (i32.sub (i32.add (local.get $at) (i32.const 2)) (local.get $point)))
        (drop (call $write_digits (local.get $at) (local.get $digits) (local.get $count)))
        (return (i32.add (local.get $at) (local.get $count)))))

    (if (i32.and (i32.gt_s (local.get $point) (i32.const 0)) (i32.lt_s (local.get $point) (local.get $count)))
      (then
        (local.set $digits (call $write_digits
          (i32.add (i32.add (local.get $at) (local.get $point)) (i32.const 1))
          (local.get $digits)
          (i32.sub (local.get $count) (local.get $point))))
        (i32.store8 (i32.add (local.get $at) (local.get $point)) (i32.const 0x2e))
        (drop (call $write_digits (local.get $at) (local.get $digits) (local.get $point)))
        (return (i32.add (i32.add (local.get $at) (local.get $count)) (i32.const 1)))))

    (if (i32.and (i32.gt_s (local.get $point) (i32.const 0)) (i32.le_s (local.get $point) (i32.const 21)))
      (then
        (drop (call $write_digits (local.get $at) (local.get $digits) (local.get $count)))
        (memory.fill
          (i32.add (local.get $at) (local.get $count))
          (i32.const 0x30)
          (local.get $exponent))
        (return (i32.add (local.get $at) (local.get $point)))))

    (if (i32.gt_u (local.get $count) (i32.const 1))
      (then
        (local.set $digits (call $write_digits
          (i32.add (local.get $at) (i32.const 2))
          (local.get $digits)
          (i32.sub (local.get $count) (i32.const 1))))
        (i32.store8 (i32.add (local.get $at) (i32.const 1)) (i32.const 0x2e))))
    (drop (call $write_digits (local.get $at) (local.get $digits) (i32.const 1)))
    (local.set $at (i32.add
      (i32.add (local.get $at) (local.get $count))
      (i32.gt_u (local.get $count) (i32.const 1))))
    (local.set $exponent (i32.sub (local.get $point) (i32.const 1)))
    (i32.store8 (local.get $at) (i32.const 0x65))
    (i32.store8
      (i32.add (local.get $at) (i32.const 1))
      (select (i32.const 0x2d) (i32.const 0x2b) (i32.lt_s (local.get $exponent) (i32.const 0))))
    (local.set $at (i32.add (local.get $at) (i32.const 2)))
    (if (i32.lt_s (local.get $exponent) (i32.const 0))
      (then (local.set $exponent (i32.sub (i32.const 0) (local.get $exponent)))))
    (local.set $count (call $count_digits (local.get $exponent)))
    (drop (call $write_digits (local.get $at) (local.get $exponent) (local.get $count)))
    (i32.add (local.get $at) (local.get $count)))

  ;; Writes a number that is finite and positive, given by its bits. Returns where the text ends.
  (func $write_float (param $at i32) (param $bits i32) (result i32)
    (local $biased i32) (local $fraction i32) (local $c i32) (local $q i32) (local $is_odd i32) (local $is_closer i32)
    (local $k i32) (local $h i64) (local $g i64) (local $lower i32) (local $vb i32) (local $upper i32) (local $s i32)
    (local $tens i32) (local $is_down_inside i32) (local $is_up_inside i32)
    ;; Readers make a double of a text first, and a float32 of that. There is one number whose shortest text lies so near the
    ;; middle of two that rounding twice gives its neighbour: 7.038531e-26 would, 7.0385307e-26 does not.
    (if (i32.eq (local.get $bits) (i32.const 0x15ae43fd))
      (then (return (call $write_decimal (local.get $at) (i32.const 70385307) (i32.const -33)))))
    (local.set $biased (i32.shr_u (local.get $bits) (i32.const 23)))
    (local.set $fraction (i32.and (local.get $bits) (i32.const 0x7fffff)))
    (if (local.get $biased)
      (then
        (local.set $c (i32.or (local.get $fraction) (i32.const 0x800000)))
        (local.set $q (i32.sub (local.get $biased) (i32.const 150))))
      (else
        (local.set $c (local.get $fraction))
        (local.set $q (i32.const -149))))
    (local.set $is_odd (i32.and (local.get $c) (i32.const 1)))
    ;; The number below a power of two is half as far away.
    (local.set $is_closer (i32.and
      (i32.eqz (local.get $fraction))
      (i32.gt_u (local.get $biased) (i32.const 1))))
    (local.set $k (i32.shr_s
      (i32.sub
        (i32.mul (local.get $q) (i32.const 1262611))
        (select (i32.const 524031) (i32.const 0) (local.get $is_closer)))
      (i32.const 22)))
    (local.set $h (i64.extend_i32_u (i32.add
      (i32.add
        (local.get $q)
        (i32.shr_s (i32.mul (i32.sub (i32.const 0) (local.get $k)) (i32.const 1741647)) (i32.const 19)))
      (i32.const 1))))
    (local.set $g (i64.load (i32.shl (i32.sub (i32.const 31) (local.get $k)) (i32.const 3))))
    (local.set $c (i32.shl (local.get $c) (i32.const 2)))
    (local.set $lower (i32.add
      (local.get $is_odd)
      (call $round_to_odd
        (local.get $g)
        (i64.shl
          (i64.extend_i32_u (i32.add (i32.sub (local.get $c) (i32.const 2)) (local.get $is_closer)))
          (local.get $h)))))
    (local.set $vb (call $round_to_odd
      (local.get $g)
      (i64.shl (i64.extend_i32_u (local.get $c)) (local.get $h))))
    (local.set $upper (i32.sub
      (call $round_to_odd
        (local.get $g)
        (i64.shl (i64.extend_i32_u (i32.add (local.get $c) (i32.const 2))) (local.get $h)))
      (local.get $is_odd)))
    (local.set $s (i32.shr_u (local.get $vb) (i32.const 2)))

    ;; One digit less, if there is exactly one such number between the bounds.
    (if (i32.ge_u (local.get $s) (i32.const 10))
      (then
        (local.set $tens (i32.div_u (local.get $s) (i32.const 10)))
        (local.set $is_down_inside (i32.le_u
          (local.get $lower)
          (i32.mul (local.get $tens) (i32.const 40))))
        (local.set $is_up_inside (i32.le_u
          (i32.add (i32.mul (local.get $tens) (i32.const 40)) (i32.const 40))
          (local.get $upper)))
        (if (i32.ne (local.get $is_down_inside) (local.get $is_up_inside))
          (then
            (return (call $write_decimal
              (local.get $at)
              (i32.add (local.get $tens) (local.get $is_up_inside))
              (i32.add (local.get $k) (i32.const 1))))))))

    (local.set $is_down_inside (i32.le_u (local.get $lower) (i32.shl (local.get $s) (i32.const 2))))
    (local.set $is_up_inside (i32.le_u
      (i32.add (i32.shl (local.get $s) (i32.const 2)) (i32.const 4))
      (local.get $upper)))
    (if (i32.eq (local.get $is_down_inside) (local.get $is_up_inside))
      (then
        ;; The nearer of the two, or the even one.
        (local.set $tens (i32.add (i32.shl (local.get $s) (i32.const 2)) (i32.const 2)))
        (local.set $is_up_inside (i32.or
          (i32.gt_u (local.get $vb) (local.get $tens))
          (i32.and
            (i32.eq (local.get $vb) (local.get $tens))
            (i32.and (local.get $s) (i32.const 1)))))))
    (call $write_decimal
      (local.get $at)
      (i32.add (local.get $s) (local.get $is_up_inside))
      (local.get $k)))

  ;; Writes finite numbers, $count of them from $from on, with commas between them, at $to. Returns where the text ends.
  (func (export "write") (param $from i32) (param $count i32) (param $to i32) (result i32)
    (local $end i32) (local $bits i32)
    (local.set $end (i32.add (local.get $from) (i32.shl (local.get $count) (i32.const 2))))
    (loop $next
      (local.set $bits (i32.load (local.get $from)))
      (if (i32.lt_s (local.get $bits) (i32.const 0))
        (then
          (i32.store8 (local.get $to) (i32.const 0x2d))
          (local.set $to (i32.add (local.get $to) (i32.const 1)))
          (local.set $bits (i32.and (local.get $bits) (i32.const 0x7fffffff)))
          ;; Readers that take 0 for an integer would lose the sign.
          (if (i32.eqz (local.get $bits))
            (then
              (i32.store align=1 (local.get $to) (i32.const 0x00302e30))
              (local.set $to (i32.add (local.get $to) (i32.const 3))))))
        (else
          (if (i32.eqz (local.get $bits))
            (then
              (i32.store8 (local.get $to) (i32.const 0x30))
              (local.set $to (i32.add (local.get $to) (i32.const 1)))))))
      (if (local.get $bits)
        (then (local.set $to (call $write_float (local.get $to) (local.get $bits)))))
      (local.set $from (i32.add (local.get $from) (i32.const 4)))
      (if (i32.lt_u (local.get $from) (local.get $end))
        (then
          (i32.store8 (local.get $to) (i32.const 0x2c))
          (local.set $to (i32.add (local.get $to) (i32.const 1)))
          (br $next))))
    (local.get $to)))
