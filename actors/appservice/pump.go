package appservice

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// saveEvery is after how many commits that do not concern the application service it is written down that they do not.
const saveEvery = 256

// pump takes what is in the feed to the application service. One goroutine at a time uses it.
type pump struct {
	deps    Deps
	id      string
	desk    *desk
	publish func(*status)

	epoch persistence.Epoch
	seq   uint64
	queue schema.AppserviceQueue
	saved uint64                   // queue.Pos as it is durable
	dirty bool                     // an acknowledgement is not durable yet
	drop  *messages.DeviceMessages // what leaves the inboxes with it
	rooms *standings               // of the application service, as of queue.Pos
	of    *appservice.Registration // as it was when rooms was made
}

// status is what an operator sees of a pump.
type status struct {
	epoch, seq uint64
	queue      schema.AppserviceQueue
	rooms      int
}

// errUncertain says that the queue may not be what memory says: the activation ends, and the next one reads it.
var errUncertain = errors.New("appservice: the queue could not be written")

// load reads the queue, or begins one with what happens from now on.
func (p *pump) load(ctx context.Context) error {
	row, ok, err := schema.AppserviceQueues.Get(ctx, p.deps.Store, schema.AppserviceQueue{ID: p.id})
	if err != nil {
		return err
	}
	p.queue, p.saved = row, row.Pos
	if !ok {
		pos, err := p.deps.Store.CatchUp(ctx)
		if err != nil {
			return err
		}
		// An application service that was registered before remembers the ids of that time, so these begin elsewhere.
		p.queue = schema.AppserviceQueue{ID: p.id, Pos: uint64(pos) + 1, TxnID: uint64(p.deps.Now().UnixMilli())}
	}
	return p.save(ctx, p.queue)
}

// run sends until nothing is left.
func (p *pump) run(ctx context.Context) error {
	for {
		r := p.deps.Set().ByID(p.id)
		if r == nil || r.URL == "" {
			return errUnregistered
		}
		if p.of != r { // its namespaces may be others now
			p.of, p.rooms = r, newStandings(p.deps.Reader, r)
			p.desk.want(r.Ephemeral)
		}
		if p.queue.Body == nil {
			more, err := p.fill(ctx)
			if err != nil {
				p.of = nil // the standings may be ahead of the queue
				return err
			}
			if p.queue.Body == nil {
				if more {
					continue
				}
				return nil
			}
		}
		if err := p.deps.Send(ctx, r, strconv.FormatUint(p.queue.TxnID, 10), p.queue.Body); err != nil {
			return err
		}
		if err := p.acknowledged(); err != nil {
			return err
		}
	}
}

// fill makes the next transaction of what has come, and makes it durable before it is sent. It reports whether there may be more.
func (p *pump) fill(ctx context.Context) (more bool, err error) {
	next := p.queue
	b := &batch{pump: p, ctx: ctx, of: p.of, counts: map[device]bool{}}
	if more, err = b.read(&next); err != nil {
		return false, err
	}
	if !b.empty() {
		next.TxnID++
		if next.Body, err = b.body(); err != nil {
			return false, err
		}
		if len(b.drop.Messages) > 0 {
			if next.Drop, err = proto.Marshal(&b.drop); err != nil {
				return false, err
			}
		}
	}
	if next.Body != nil || p.dirty || next.Pos-p.saved >= saveEvery {
		return more, p.save(ctx, next)
	}
	p.queue = next
	p.tell()
	return more, nil
}

// acknowledged takes in that the application service has the transaction. It becomes durable with the next one, or at once when there is
// none; until then a crash repeats the transaction.
func (p *pump) acknowledged() error {
	p.drop = &messages.DeviceMessages{}
	if err := proto.Unmarshal(p.queue.Drop, p.drop); err != nil {
		return err
	}
	p.queue.Events += uint64(gjson.GetBytes(p.queue.Body, "events.#").Int())
	p.queue.SentTS = p.deps.Now().UnixMilli()
	p.queue.Body, p.queue.Drop = nil, nil
	p.dirty = true
	p.tell()
	return nil
}

// save makes the queue durable, with the end of what was acknowledged.
func (p *pump) save(ctx context.Context, next schema.AppserviceQueue) error {
	next.TS = p.deps.Now().UnixMilli()
	c := &persistence.Commit{
		Stream: persistence.Stream{Kind: cluster.KindAppservice, ID: p.id}, Epoch: p.epoch, Seq: p.seq, Advance: 1,
		Write: []persistence.Mutation{schema.AppserviceQueues.Put(next)},
	}
	for _, m := range p.drop.GetMessages() {
		c.Write = append(c.Write, schema.ToDevices.Delete(schema.ToDevice{UserID: m.UserId, DeviceID: m.DeviceId, Pos: m.Pos, N: m.N}))
	}
	// The fate of the commit decides the sequence number of the next one, so it is waited for whatever becomes of ctx.
	if _, err := persistence.Await(context.WithoutCancel(ctx), p.deps.Store, c); err != nil {
		if errors.Is(err, persistence.ErrOverloaded) {
			return err
		}
		return fmt.Errorf("%w: %w", errUncertain, err)
	}
	p.seq++
	p.queue, p.saved, p.dirty, p.drop = next, next.Pos, false, nil
	p.tell()
	return nil
}

func (p *pump) tell() {
	s := &status{epoch: uint64(p.epoch), seq: p.seq, queue: p.queue}
	if p.rooms != nil {
		s.rooms = len(p.rooms.rooms)
	}
	p.publish(s)
}
