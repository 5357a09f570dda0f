/* SPDX-License-Identifier: MIT
 *
 * co_enter() and co_yield() for x86-64, around the C functions of coro.c. They
 * do what those in coro.c do for other machines, and return by a jump: each
 * returns to the caller of the other, which is where a `ret` would never be
 * predicted to go. A coroutine's round trip in C takes half the time so.
 *
 * The switch itself is that of arch/x86_64.h; the offsets are those of struct
 * arch_ctx. Not used with sanitizers, which must be told of every switch.
 */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

    .macro SAVE reg
    pushq   %\reg
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset \reg, 0
    .endm

    .macro RESTORE reg
    popq    %\reg
    .cfi_adjust_cfa_offset -8
    .cfi_restore \reg
    .endm

    /* Callee-saved registers; the stack is aligned for calls after them. */
    .macro PROLOGUE
    .cfi_startproc
    endbr64
    SAVE    rbp
    SAVE    rbx
    SAVE    r12
    SAVE    r13
    SAVE    r14
    SAVE    r15
    subq    $8, %rsp
    .cfi_adjust_cfa_offset 8
    .endm

    .macro EPILOGUE
    addq    $8, %rsp
    .cfi_adjust_cfa_offset -8
    RESTORE r15
    RESTORE r14
    RESTORE r13
    RESTORE r12
    RESTORE rbx
    RESTORE rbp
    popq    %rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register rip, rcx
    jmp     *%rcx
    .cfi_endproc
    .endm

    /* From the context in rax to that in rdx with the value in rdi; goes on at
     * the label, where only rsp, rbp and rdi are defined. */
    .macro JUMP label
    leaq    \label(%rip), %rcx
    movq    %rsp, 0(%rax)
    movq    %rbp, 8(%rax)
    movq    %rcx, 16(%rax)
    movq    0(%rdx), %rsp
    movq    8(%rdx), %rbp
    jmp     *16(%rdx)
    .endm

    .text

/* enum co_status co_enter(co_t *co, void *send, void **received) */
    .globl  co_enter
    .type   co_enter, @function
    .p2align 4
co_enter:
    PROLOGUE
    movq    %rdi, %rbx
    movq    %rsi, %r12
    movq    %rdx, %rbp
    call    coro_enter_begin            /* rax: from, rdx: to or NULL */
    testq   %rdx, %rdx
    jz      2f                          /* eax: the status */
    movq    %r12, %rdi
    movq    %rbx, (%rsp)
    JUMP    1f
1:  endbr64
    movq    (%rsp), %rbx
    testq   %rbp, %rbp
    jz      3f
    movq    %rdi, (%rbp)
3:  movq    %rbx, %rdi
    call    coro_enter_end
2:  EPILOGUE
    .size   co_enter, . - co_enter

/* enum co_status co_yield(void *send, void **received) */
    .globl  co_yield
    .type   co_yield, @function
    .p2align 4
co_yield:
    PROLOGUE
    movq    %rdi, %rbx
    movq    %rsi, %rbp
    call    coro_yield_begin
    testq   %rdx, %rdx
    jz      2f
    movq    %rbx, %rdi
    JUMP    1f
1:  endbr64
    xorl    %eax, %eax                  /* CO_OK */
    testq   %rbp, %rbp
    jz      2f
    movq    %rdi, (%rbp)
2:  EPILOGUE
    .size   co_yield, . - co_yield

#endif

    .section .note.GNU-stack, "", @progbits
