package ordered

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	var p Progress
	var all sync.WaitGroup
	for want := range uint64(50) {
		all.Go(func() {
			if err := p.Wait(context.Background(), want); err != nil || p.Now() < want {
				t.Errorf("waiting for %d ended at %d: %v", want, p.Now(), err)
			}
		})
	}
	for i := range uint64(50) {
		p.Set(i)
	}
	all.Wait()

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Wait(ctx, 50); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait gave %v", err)
	}
	broken := errors.New("broken")
	all.Go(func() {
		if err := p.Wait(context.Background(), 50); !errors.Is(err, broken) {
			t.Errorf("waiting for what will not come gave %v", err)
		}
	})
	p.Fail(broken)
	all.Wait()
	if err := p.Wait(context.Background(), 49); err != nil {
		t.Errorf("what was reached before gave %v", err)
	}
}
