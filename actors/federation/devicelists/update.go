package devicelists

import (
	"bytes"
	"context"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/persistence/schema"
)

// Update is the content of an m.device_list_update. Whoever calls Lists.Update has checked that it comes from the user's server.
type Update struct {
	UserID      string         `json:"user_id"`
	DeviceID    string         `json:"device_id"`
	DisplayName string         `json:"device_display_name"`
	StreamID    int64          `json:"stream_id"`
	PrevID      []int64        `json:"prev_id"`
	Deleted     bool           `json:"deleted"`
	Keys        jsontext.Value `json:"keys"`
}

// Update takes a change of a user's devices. When one before it was missed, the whole list is fetched, soon. Changes of users who share no
// room with this server are passed over.
func (l *Lists) Update(ctx context.Context, u Update) error {
	return l.told(ctx, u.UserID, func(row *schema.RemoteDeviceList) (changed bool, err error) {
		follows := len(u.PrevID) > 0 && !slices.ContainsFunc(u.PrevID, func(id int64) bool { return id != row.StreamID })
		switch {
		case u.StreamID == row.StreamID:
			return false, nil
		case row.Stale || !follows:
			row.Stale, row.StreamID = true, u.StreamID
			return true, nil
		}
		row.StreamID = u.StreamID
		return true, edit(row, func(known *list) { known.apply(u) })
	})
}

// SigningKeys takes new cross-signing keys of a user, nil for those that stay (m.signing_key_update).
func (l *Lists) SigningKeys(ctx context.Context, userID string, master, selfSigning jsontext.Value) error {
	return l.told(ctx, userID, func(row *schema.RemoteDeviceList) (bool, error) {
		if row.Stale {
			return true, nil
		}
		was := row.JSON
		err := edit(row, func(known *list) {
			if key := ofUser(master, userID); key != nil {
				known.Master = key
			}
			if key := ofUser(selfSigning, userID); key != nil {
				known.SelfSigning = key
			}
		})
		return !bytes.Equal(was, row.JSON), err
	})
}

// told changes the list that is kept, if one is, and tells those who share a room with the user.
func (l *Lists) told(ctx context.Context, userID string, alter func(*schema.RemoteDeviceList) (changed bool, err error)) error {
	rooms, since, err := l.shared(ctx, userID)
	if err != nil || len(rooms) == 0 {
		return err
	}
	stale := false
	err = l.alter(ctx, userID, func(row schema.RemoteDeviceList, there bool) (change, error) {
		stale = false
		if !there {
			return change{tell: rooms}, nil
		}
		if !current(row, since) {
			row.Stale = true
		}
		changed, err := alter(&row)
		if err != nil || !changed {
			return change{}, err
		}
		stale = row.Stale
		return change{&row, rooms}, nil
	})
	if stale {
		l.Want(userID)
	}
	return err
}

// edit changes the JSON of the row.
func edit(row *schema.RemoteDeviceList, do func(*list)) error {
	var known list
	if err := json.Unmarshal(row.JSON, &known); err != nil {
		return err
	}
	do(&known)
	raw, err := json.Marshal(known, json.Deterministic(true))
	row.JSON = raw
	row.Stale = row.Stale || len(known.Devices) > mostDevices
	return err
}
