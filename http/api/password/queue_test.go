package password

import (
	"context"
	"errors"
	"testing"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

func TestWaitingIsBounded(t *testing.T) {
	t.Parallel()
	h, err := New(Parameters{MemoryKiB: 64, Iterations: 1, Parallelism: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range cap(h.slots) {
		h.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.Hash(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that went away while all slots were taken: %v", err)
	}
	if len(h.waiting) != 0 {
		t.Errorf("a caller that went away still counts as waiting")
	}
	for range cap(h.waiting) {
		h.waiting <- struct{}{}
	}
	if _, err := h.Matches(context.Background(), "", "x"); mxerr.From(err).Code != "M_LIMIT_EXCEEDED" {
		t.Errorf("when too many wait: %v", err)
	}
}
