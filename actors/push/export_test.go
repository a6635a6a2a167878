package push

import "context"

// Look does the tasks that are there, as Run does in its time.
func (d *Dispatcher) Look(ctx context.Context) error {
	if err := d.users.load(ctx, d.Store); err != nil {
		return err
	}
	return d.round(ctx, true)
}

// WakeAll tells the push actors that items wait for them.
func (d *Dispatcher) WakeAll(ctx context.Context) error { return d.wakeAll(ctx) }

// The bounds.
const (
	QueueBound = queueBound
	GiveUp     = giveUp
	FirstPause = firstPause

	Settle       = settle
	FirstSilence = firstSilence
)
