"""gmpy2: GMP keeps what is small on the stack; also MPFR's numbers."""

import gmpy2

DISTRIBUTION = "gmpy2"


def small():
    return str(gmpy2.mpz(3) ** 50)


def heavy():
    factorial = gmpy2.fac(5000)
    with gmpy2.context(precision=20_000):
        root = str(gmpy2.sqrt(gmpy2.mpfr(2)))
    primes = [gmpy2.mpz(2)]
    for _ in range(500):
        primes.append(gmpy2.next_prime(primes[-1]))
    power = gmpy2.powmod(3, factorial, 2**607 - 1)
    return [len(str(factorial)), root[-30:], int(primes[-1]), int(power % 10**30)]


def exception():
    gmpy2.invert(4, 8)
