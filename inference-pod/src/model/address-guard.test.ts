import { expect, test } from '@jest/globals';
import { refusedAddress } from './address-guard.ts';

test.each([
  '169.254.169.254',
  'fe80::1',
  '[fe80::1]',
  '::ffff:169.254.169.254',
  '::ffff:a9fe:a9fe',
  '::a9fe:a9fe',
  '::ffff:0:a9fe:a9fe',
  '64:ff9b::a9fe:a9fe',
  '2002:a9fe:a9fe::1',
  '2001:0:0:0:0:0:5601:5601',
  'fd00:ec2::254',
  'fd00:ec2::23',
  '100.100.100.200',
  '0.0.0.0',
  '::',
])('a model is not fetched from %s', (address) => {
  expect(refusedAddress(address)).toBeDefined();
});

test.each(['127.0.0.1', '::1', '10.0.0.1', '93.184.216.34', '2606:2800:220::1', '64:ff9b::5db8:d822', 'no address'])(
  'but from %s',
  (address) => {
    expect(refusedAddress(address)).toBeUndefined();
  },
);
