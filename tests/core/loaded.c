/* SPDX-License-Identifier: MIT
 *
 * A library to be loaded by test_loads.c, under several names.
 */
__attribute__((visibility("default"))) int loaded_for_a_test(void);

int
loaded_for_a_test(void)
{
    return 1;
}
