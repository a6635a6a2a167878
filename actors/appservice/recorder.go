// Package appservice sends application services what concerns them (application service API, "Pushing events"). Each has an actor
// with a durable queue: at most one transaction is on its way, the next goes when that was acknowledged, and one that was not is
// sent again, unchanged and for ever.
//
// Nothing is written for each event and application service. While any is registered, every commit writes down once what it
// tells (Recorder), and each actor reads that feed in order, picks what concerns its application service, and makes the next
// transaction durable together with how far it has read before it sends it. So a crash at any point loses nothing, and repeats
// at most the transaction that was on its way, under the same id.
package appservice

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Recorder is a store that writes down what commits tell, while there are application services.
type Recorder struct {
	persistence.Store
	// Set gives the application services as they are registered now.
	Set func() *appservice.Set
}

// Submit implements persistence.Store.
func (r *Recorder) Submit(c *persistence.Commit, done persistence.Done) {
	if all := r.Set().All(); len(all) > 0 && len(c.Notices) > 0 {
		if entry := entryOf(c.Notices, all); len(entry) > 0 {
			with := *c
			with.Write = slices.Concat(c.Write, []persistence.Mutation{schema.Feed.Put(schema.FeedEntry{Notices: entry})})
			c = &with
		}
	}
	r.Store.Submit(c, done)
}

// entryOf gives the notices that may concern one of the application services, encoded; nothing when there are none.
func entryOf(notices []proto.Message, all []*appservice.Registration) []byte {
	ephemeral, encryption := false, false
	for _, r := range all {
		ephemeral = ephemeral || r.Ephemeral
		encryption = encryption || r.Encryption
	}
	entry := &messages.FeedNotices{}
	for _, notice := range notices {
		switch n := notice.(type) {
		case *messages.RoomNotice:
			if len(n.Events) > 0 || ephemeral {
				entry.Notices = append(entry.Notices, &messages.FeedNotice{Room: n})
			}
		case *messages.UserNotice:
			if encryption && n.Keys || (encryption || ephemeral) && len(n.ToDevice) > 0 {
				entry.Notices = append(entry.Notices, &messages.FeedNotice{User: n})
			}
		case *messages.DeviceListNotice:
			if encryption {
				entry.Notices = append(entry.Notices, &messages.FeedNotice{DeviceList: n})
			}
		case *messages.PresenceNotice:
			if ephemeral {
				entry.Notices = append(entry.Notices, &messages.FeedNotice{Presence: n})
			}
		}
	}
	if len(entry.Notices) == 0 {
		return nil
	}
	raw, err := proto.Marshal(entry)
	if err != nil {
		panic(err) // messages of ours have only valid text in them
	}
	return raw
}
