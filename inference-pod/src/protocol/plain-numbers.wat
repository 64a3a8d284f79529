;; Reads plain numbers of a JSON list, up to seven digits on each side of the point, eight bytes at a time: no test and no
;; multiplication for each digit. Whatever else there is, it stops before it.
;;
;; Memory: the powers of ten as doubles at 0 (nine of them), as integers at 128; the rest is the caller's. Behind the bytes
;; that are read there must be nine that are no digits.
(module
  (memory (export "memory") 2)
  ;; Where the last number ended.
  (global $behind (export "behind") (mut i32) (i32.const 0))

  ;; A high bit for each of eight bytes that is no digit, once '0' is taken off them. What is carried over from one byte to
  ;; the next comes from one that is no digit, so the lowest of these bits is right.
  (func $others (param $bytes i64) (result i64)
    (i64.and
      (i64.or (i64.add (local.get $bytes) (i64.const 0x7676767676767676)) (local.get $bytes))
      (i64.const 0x8080808080808080)))

  ;; The value of the first $count of eight digits: moved to the end, then added up in pairs, fours and eights.
  (func $value (param $bytes i64) (param $count i32) (result i64)
    (local.set $bytes (i64.shl
      (local.get $bytes)
      (i64.extend_i32_u (i32.shl (i32.sub (i32.const 8) (local.get $count)) (i32.const 3)))))
    (local.set $bytes (i64.and
      (i64.shr_u (i64.mul (i64.and (local.get $bytes) (i64.const 0x0f0f0f0f0f0f0f0f)) (i64.const 2561)) (i64.const 8))
      (i64.const 0x00ff00ff00ff00ff)))
    (local.set $bytes (i64.and
      (i64.shr_u (i64.mul (local.get $bytes) (i64.const 6553601)) (i64.const 16))
      (i64.const 0x0000ffff0000ffff)))
    (i64.shr_u (i64.mul (local.get $bytes) (i64.const 42949672960001)) (i64.const 32)))

  ;; Reads from $position on, at most $most numbers, which it writes as doubles from $into on. Returns how many it has read.
  (func (export "read") (param $position i32) (param $into i32) (param $most i32) (result i32)
    (local $count i32) (local $byte i32) (local $isNegative i32) (local $first i32)
    (local $bytes i64) (local $others i64) (local $digits i32) (local $places i32) (local $usual_digits i32) (local $usual_places i32) (local $mantissa i64) (local $number f64)
    (global.set $behind (local.get $position))
    (block $end
      (loop $next
        (br_if $end (i32.ge_u (local.get $count) (local.get $most)))
        (local.set $isNegative (i32.eq (i32.load8_u (local.get $position)) (i32.const 0x2d)))
        (local.set $position (i32.add (local.get $position) (local.get $isNegative)))
        (local.set $first (local.get $position))
        (local.set $bytes (i64.xor (i64.load align=1 (local.get $position)) (i64.const 0x3030303030303030)))
        (local.set $others (call $others (local.get $bytes)))
        (br_if $end (i64.eqz (local.get $others)))
        (local.set $digits (i32.wrap_i64 (i64.shr_u (i64.ctz (local.get $others)) (i64.const 3))))
        (br_if $end (i32.eqz (local.get $digits)))
        ;; No number but 0 itself begins with a 0.
        (br_if $end (i32.and
          (i32.gt_u (local.get $digits) (i32.const 1))
          (i32.eq (i32.load8_u (local.get $first)) (i32.const 0x30))))
        ;; Branches that are guessed right let the processor go on with the next digits before these are counted.
        (if (i32.eq (local.get $digits) (i32.const 1))
          (then
            (local.set $mantissa (i64.and (local.get $bytes) (i64.const 0x0f)))
            (local.set $position (i32.add (local.get $position) (i32.const 1))))
          (else
            (local.set $mantissa (call $value (local.get $bytes) (local.get $digits)))
            (if (i32.eq (local.get $digits) (local.get $usual_digits))
              (then (local.set $position (i32.add (local.get $position) (local.get $usual_digits))))
              (else
                (local.set $position (i32.add (local.get $position) (local.get $digits)))
                (local.set $usual_digits (local.get $digits))))))
        (local.set $byte (i32.load8_u (local.get $position)))
        (local.set $places (i32.const 0))
        (if (i32.eq (local.get $byte) (i32.const 0x2e))
          (then
            (local.set $position (i32.add (local.get $position) (i32.const 1)))
            (local.set $bytes (i64.xor (i64.load align=1 (local.get $position)) (i64.const 0x3030303030303030)))
            (local.set $others (call $others (local.get $bytes)))
            (br_if $end (i64.eqz (local.get $others)))
            (local.set $places (i32.wrap_i64 (i64.shr_u (i64.ctz (local.get $others)) (i64.const 3))))
            (br_if $end (i32.eqz (local.get $places)))
            (local.set $mantissa (i64.add
              (i64.mul
                (local.get $mantissa)
                (i64.load (i32.add (i32.const 128) (i32.shl (local.get $places) (i32.const 3)))))
              (call $value (local.get $bytes) (local.get $places))))
            (if (i32.eq (local.get $places) (local.get $usual_places))
              (then (local.set $position (i32.add (local.get $position) (local.get $usual_places))))
              (else
                (local.set $position (i32.add (local.get $position) (local.get $places)))
                (local.set $usual_places (local.get $places))))
            (local.set $byte (i32.load8_u (local.get $position)))))
        ;; Only a comma or the end of the list tells that the number is whole.
        (br_if $end (i32.and
          (i32.ne (local.get $byte) (i32.const 0x2c))
          (i32.ne (local.get $byte) (i32.const 0x5d))))
        ;; Fifteen digits and a power of ten are exact as doubles, so their quotient is rounded once, and right. Sixteen may
        ;; not be.
        (br_if $end (i64.ge_u (local.get $mantissa) (i64.const 9007199254740992)))
        (local.set $number (f64.div
          (f64.convert_i64_s (local.get $mantissa))
          (f64.load (i32.shl (local.get $places) (i32.const 3)))))
        (f64.store
          (i32.add (local.get $into) (i32.shl (local.get $count) (i32.const 3)))
          (select (f64.neg (local.get $number)) (local.get $number) (local.get $isNegative)))
        (local.set $count (i32.add (local.get $count) (i32.const 1)))
        (global.set $behind (local.get $position))
        (br_if $end (i32.eq (local.get $byte) (i32.const 0x5d)))
        (local.set $position (i32.add (local.get $position) (i32.const 1)))
        (local.set $position (i32.add
          (local.get $position)
          (i32.eq (i32.load8_u (local.get $position)) (i32.const 0x20))))
        (br $next)))
    (local.get $count)))
