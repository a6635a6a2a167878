package media

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/matrixon/matrixon/persistence/schema"
)

// transfers are the downloads from other servers that go on, by server and media id.
type transfers struct {
	mu sync.Mutex
	of map[string]*transfer
}

// transfer is a download that all who ask for the same media of one node share. It counts for one of them at a time: for the first, and for
// the next when that one goes away or may not fetch more, which is then refused to him alone. When nobody is left who waits it goes on for
// the last, who may come again.
type transfer struct {
	among  *transfers
	key    string
	wait   time.Duration // how long the other server may wait for the media to be uploaded
	askers []*asker      // guarded by among.mu; never empty; the first is the one for whom it counts
	done   chan struct{}
	row    schema.Media // once it is done
	err    error
}

// asker is a request for the media.
type asker struct {
	take    counting
	gone    bool // nobody waits for the answer; guarded by transfers.mu
	refused chan error
}

// counting counts KiB against who asks. Its error says that he may not fetch more.
type counting func(ctx context.Context, kib int) error

// join makes someone one of those who ask. If he is the first, fetch is called to do the work.
func (ts *transfers) join(ctx context.Context, key string, wait time.Duration, take counting,
	fetch func(context.Context, *transfer) (schema.Media, error),
) (*transfer, *asker) {
	who := &asker{take: take, refused: make(chan error, 1)}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.of[key]; t != nil {
		if t.askers[0].gone {
			t.askers = nil
		}
		t.askers = append(t.askers, who)
		return t, who
	}
	t := &transfer{among: ts, key: key, wait: wait, askers: []*asker{who}, done: make(chan struct{})}
	if ts.of == nil {
		ts.of = map[string]*transfer{}
	}
	ts.of[key] = t
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	go func() {
		defer cancel()
		defer close(t.done)
		defer t.end()
		t.row, t.err = fetch(ctx, t)
	}()
	return t, who
}

// await waits for the media on behalf of an asker.
func (t *transfer) await(ctx context.Context, who *asker) (schema.Media, error) {
	select {
	case <-ctx.Done():
		t.leave(who)
		return schema.Media{}, ctx.Err()
	case err := <-who.refused:
		return schema.Media{}, err
	case <-t.done:
		return t.row, t.err
	}
}

// leave says that nobody waits for the answer to an asker.
func (t *transfer) leave(who *asker) {
	t.among.mu.Lock()
	defer t.among.mu.Unlock()
	who.gone = true
	if len(t.askers) > 1 {
		t.askers = slices.DeleteFunc(t.askers, func(a *asker) bool { return a == who })
	}
}

// end lets who asks from now on begin anew.
func (t *transfer) end() {
	t.among.mu.Lock()
	defer t.among.mu.Unlock()
	t.forget()
}

func (t *transfer) forget() {
	if t.among.of[t.key] == t {
		delete(t.among.of, t.key)
	}
}

// payer is for whom it counts.
func (t *transfer) payer() *asker {
	t.among.mu.Lock()
	defer t.among.mu.Unlock()
	return t.askers[0]
}

// take counts KiB that have come. Its error says that none of those who ask may fetch more.
func (t *transfer) take(ctx context.Context, kib int) error {
	for {
		who := t.payer()
		err := who.take(ctx, kib)
		if err == nil {
			return nil
		}
		for left := kib; left > 0; left /= 2 {
			_ = who.take(ctx, left) // so that nothing is left, and no other file is begun
		}
		if !t.refuse(who, err) {
			return err
		}
	}
}

// refuse tells an asker that he may not fetch more. False says that he was the last.
func (t *transfer) refuse(who *asker, err error) bool {
	t.among.mu.Lock()
	defer t.among.mu.Unlock()
	if len(t.askers) == 1 && t.askers[0] == who {
		t.forget()
		return false
	}
	t.askers = slices.DeleteFunc(t.askers, func(a *asker) bool { return a == who })
	who.refused <- err
	return true
}

// took counts KiB of a file that is here already, and refuses nobody.
func (t *transfer) took(ctx context.Context, kib int) { _ = t.payer().take(ctx, kib) }

// fetchTimeout bounds one download from another server.
const fetchTimeout = 10 * time.Minute
