package picture

import (
	"context"
	"io"
	"runtime"

	"golang.org/x/sync/semaphore"
)

// Limits bound what pictures may cost.
type Limits struct {
	MaxPixels int64 // of one picture, or of one frame
	Memory    int64 // bytes of all pictures that are decoded at once, about
	Workers   int   // pictures at once; 0: one for each processor
}

// Workshop works on a few pictures at a time. The others wait.
type Workshop struct {
	limits  Limits
	workers *semaphore.Weighted
	memory  *semaphore.Weighted
}

// NewWorkshop makes a workshop.
func NewWorkshop(l Limits) *Workshop {
	if l.Workers == 0 {
		l.Workers = runtime.GOMAXPROCS(0)
	}
	return &Workshop{limits: l, workers: semaphore.NewWeighted(int64(l.Workers)), memory: semaphore.NewWeighted(l.Memory)}
}

// Thumbnail makes a smaller picture. ErrNoPicture and ErrTooLarge say what is wrong with it; other errors are those of the
// reader, or of the context that ended while it waited.
func (w *Workshop) Thumbnail(ctx context.Context, r io.ReadSeeker, info Info, s Size) (t *Thumbnail, err error) {
	cost := info.cost
	switch moving := s.Animated && info.Animated && info.Type == GIF; {
	case moving && info.motionCost+least <= w.limits.Memory:
		cost = info.motionCost
	case moving: // what cannot be kept moving is shown as if nobody had asked for that
		s.Animated = false
	}
	err = w.work(ctx, info, cost, func() error {
		t, err = s.make(r, info)
		return err
	})
	return t, err
}

// BlurHash makes a sketch of the picture.
func (w *Workshop) BlurHash(ctx context.Context, r io.ReadSeeker, info Info) (hash string, err error) {
	const side = 64 // more detail does not show
	err = w.work(ctx, info, info.cost, func() error {
		small, err := Size{Width: side, Height: side}.still(r, info)
		if err == nil {
			hash = blurHash(painted(small))
		}
		return err
	})
	return hash, err
}

// least is what buffers and the result of any picture take, in bytes.
const least = 4 << 20

// work waits for a place and for memory, and does the work.
func (w *Workshop) work(ctx context.Context, info Info, cost int64, f func() error) error {
	const maxSide = 1 << 16 // pixels
	if cost += least; pixels(info) > w.limits.MaxPixels || max(info.Width, info.Height) > maxSide || cost > w.limits.Memory {
		return ErrTooLarge
	}
	if err := w.memory.Acquire(ctx, cost); err != nil {
		return err
	}
	defer w.memory.Release(cost)
	if err := w.workers.Acquire(ctx, 1); err != nil {
		return err
	}
	defer w.workers.Release(1)
	return f()
}
