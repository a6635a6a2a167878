package push

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The pace of email. A message goes some time after what it tells of, so that who is there reads it first; the next waits longer each
// time, as long as nothing is read.
const (
	settle         = 10 * time.Minute // after the oldest notification
	firstSilence   = 10 * time.Minute // after a message
	silenceGrows   = 6
	longestSilence = 24 * time.Hour
	// forgiven is how long after the silence nothing may have been sent for the next silence to be the first again.
	forgiven = 12 * time.Hour
)

// The bounds of a message.
const (
	mostLines = 5   // of a room
	mostText  = 300 // of a line, in characters
)

// digest sends what waits for a pusher of the kind email in one message, when it is time for it; done says that nothing of it is left.
func (l *line) digest(ctx context.Context, p schema.Pusher, items []schema.PushItem) (done bool, err error) {
	deps := l.actor.deps
	last, _, err := schema.PushDigests.Get(ctx, deps.Store, schema.PushDigest{UserID: p.UserID, AppID: p.AppID, Pushkey: p.Pushkey})
	if err != nil {
		return false, err
	}
	now := deps.Now()
	due := time.UnixMilli(max(items[0].TS+settle.Milliseconds(), last.SentTS+last.PauseMS))
	if now.Before(due) {
		l.next = due
		return false, nil
	}
	d, err := l.collect(ctx, p, items)
	if err != nil {
		return false, err
	}
	if len(d.Rooms) == 0 {
		return true, l.drop(ctx, items)
	}
	if err := deps.Mail(ctx, p.Pushkey, d); err != nil {
		if ctx.Err() == nil {
			l.fail(p, err)
		}
		return false, nil
	}
	deps.Metrics.count(delivered)
	l.pause, l.next = 0, time.Time{}
	// What was sent is gone with one commit; only a crash before it repeats the message.
	c := &persistence.Commit{Write: []persistence.Mutation{schema.PushDigests.Put(schema.PushDigest{
		UserID: p.UserID, AppID: p.AppID, Pushkey: p.Pushkey, SentTS: now.UnixMilli(), PauseMS: silence(last, now).Milliseconds(),
	})}}
	for _, item := range items {
		c.Write = append(c.Write, schema.PushItems.Delete(item))
	}
	_, err = persistence.Await(ctx, deps.Store, c)
	return true, err
}

// silence is how long the next message waits.
func silence(last schema.PushDigest, now time.Time) time.Duration {
	before := time.Duration(last.PauseMS) * time.Millisecond
	if before == 0 || now.Sub(time.UnixMilli(last.SentTS)) > before+forgiven {
		return firstSilence
	}
	return min(before*silenceGrows, longestSilence)
}

// collect puts together what is still unread.
func (l *line) collect(ctx context.Context, p schema.Pusher, items []schema.PushItem) (Digest, error) {
	d := Digest{UserID: p.UserID}
	at := map[string]int{} // where a room is in it
	for _, item := range items {
		if item.Seq == 0 {
			continue
		}
		n, err := l.unread(ctx, item)
		if err != nil {
			return d, err
		}
		if n == nil {
			continue
		}
		if err := n.describe(ctx, l.actor.deps.Reader); err != nil {
			return d, err
		}
		i, known := at[item.RoomID]
		if !known {
			i = len(d.Rooms)
			at[item.RoomID] = i
			name := n.roomName
			if name == "" {
				name = n.roomAlias
			}
			d.Rooms = append(d.Rooms, DigestRoom{ID: item.RoomID, Name: name})
		}
		r := &d.Rooms[i]
		r.Invite = r.Invite || n.event.Type == "m.room.member"
		if len(r.Lines) == mostLines {
			r.More++
			continue
		}
		r.Lines = append(r.Lines, n.line())
	}
	return d, nil
}

// line is the event in a message.
func (n *notification) line() DigestLine {
	sender := n.senderName
	if sender == "" {
		sender = n.event.Sender
	}
	text := gjson.GetBytes(n.event.JSON, "content.body").Str
	if n.event.Type != "m.room.message" {
		text = ""
	}
	return DigestLine{Sender: cut(sender, 100), Text: cut(text, mostText), Time: time.UnixMilli(n.event.ReceivedTS), Highlight: n.highlight}
}

// cut shortens text to so many characters.
func cut(s string, most int) string {
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
