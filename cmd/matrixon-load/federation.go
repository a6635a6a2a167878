package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/matrix/event"
)

// The load of federationIn: so many other servers, each with a transaction of so many PDUs on its way (server-server API, "Transactions").
const (
	peers           = 4
	transactionPDUs = 50
)

// federationIn measures what it costs to take signed events of other servers. Each talks in rooms of its own.
func federationIn(ctx context.Context, o *options, s *server) error {
	rooms := make([]string, max(1, o.Rooms/peers)*peers)
	clients, err := registerMany(ctx, s, len(rooms))
	if err != nil {
		return err
	}
	if err := parallel(ctx, len(rooms), func(ctx context.Context, i int) (err error) {
		rooms[i], err = clients[i].createRoom(ctx)
		return err
	}); err != nil {
		return err
	}
	talks := make([][]*speaker, peers)
	for i := range talks {
		p, err := newPeer(s.folder, s.name)
		if err != nil {
			return err
		}
		defer p.close()
		talks[i] = make([]*speaker, len(rooms)/peers)
		if err := parallel(ctx, len(talks[i]), func(ctx context.Context, n int) (err error) {
			talks[i][n], err = p.join(ctx, rooms[n*peers+i], "@load:"+p.name)
			return err
		}); err != nil {
			return err
		}
	}
	var taken latencies
	used, err := s.profiled(ctx, o, func() error {
		timed, cancel := context.WithTimeout(ctx, o.Duration)
		defer cancel()
		var g errgroup.Group
		for i := range talks {
			g.Go(func() error {
				for n := 0; timed.Err() == nil; n++ {
					if err := taken.of(func() error { return transact(ctx, talks[i], n) }); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return g.Wait()
	})
	if err != nil {
		return err
	}
	events := len(taken.all) * transactionPDUs
	report(fmt.Sprintf("PDUs of %d servers, %d rooms", peers, len(rooms)), "%.0f/s", used.rate(events))
	taken.print(fmt.Sprintf("time to take %d", transactionPDUs))
	used.each(events)
	return nil
}

// transact sends the n-th transaction of a server: the next message in one room after the other.
func transact(ctx context.Context, talk []*speaker, n int) error {
	content, err := json.Marshal(message)
	if err != nil {
		return err
	}
	pdus := make([]jsontext.Value, transactionPDUs)
	var last *event.Event
	for i := range pdus {
		if last, err = talk[(n*transactionPDUs+i)%len(talk)].say(content); err != nil {
			return err
		}
		pdus[i] = last.JSON()
	}
	p := talk[0].peer
	body, err := json.Marshal(map[string]any{"origin": p.name, "origin_server_ts": time.Now().UnixMilli(), "pdus": pdus})
	if err != nil {
		return err
	}
	answer, err := p.ask(ctx, http.MethodPut, "/v1/send/"+strconv.Itoa(n), body)
	if err != nil {
		return err
	}
	fates := answer.Get("pdus").Map()
	if fate, ok := fates[last.ID()]; !ok || len(fates) != transactionPDUs || fate.Get("error").Exists() || bytes.Contains([]byte(answer.Raw), []byte(`"error"`)) {
		return fmt.Errorf("a transaction of %d PDUs is answered with %s", transactionPDUs, answer.Raw)
	}
	return nil
}
