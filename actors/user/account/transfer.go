package account

import (
	"context"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// transferRoomSettings gives the room that replaces another what the user has set for that one (client-server API, "Room Upgrades"). What is
// set for the new room already stays, so that it does no harm to do this twice.
func (ops *operations) transferRoomSettings(ctx context.Context, o *user.Op, m *messages.TransferRoomSettings) (*messages.Done, error) {
	for _, transfer := range []func(context.Context, *user.Op, string, string) error{transferTags, transferDirect, transferRules} {
		if err := transfer(ctx, o, m.OldRoom, m.NewRoom); err != nil {
			return nil, err
		}
	}
	return &messages.Done{}, nil
}

func transferTags(ctx context.Context, o *user.Op, from, to string) error {
	row := schema.AccountData{UserID: o.UserID, RoomID: from, Type: "m.tag"}
	tags, ok, err := schema.AccountDatas.Get(ctx, o.Store, row)
	if err != nil || !ok || len(tags.Content) == 0 {
		return err
	}
	row.RoomID = to
	if _, ok, err := schema.AccountDatas.Get(ctx, o.Store, row); err != nil || ok {
		return err
	}
	return storeData(ctx, o, to, "m.tag", tags.Content)
}

// transferDirect adds the new room to m.direct wherever the old one is.
func transferDirect(ctx context.Context, o *user.Op, from, to string) error {
	row, ok, err := schema.AccountDatas.Get(ctx, o.Store, schema.AccountData{UserID: o.UserID, Type: "m.direct"})
	if err != nil || !ok || len(row.Content) == 0 {
		return err
	}
	var direct map[string]jsontext.Value
	if json.Unmarshal(row.Content, &direct) != nil { // a client may have put anything there
		return nil
	}
	changed := false
	for with, raw := range direct {
		var rooms []string
		if json.Unmarshal(raw, &rooms) != nil || !slices.Contains(rooms, from) || slices.Contains(rooms, to) {
			continue
		}
		if direct[with], err = json.Marshal(append(rooms, to)); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	raw, err := json.Marshal(direct, json.Deterministic(true))
	if err != nil {
		return err
	}
	return storeData(ctx, o, "", "m.direct", raw)
}

func transferRules(ctx context.Context, o *user.Op, from, to string) error {
	rules, err := PushRules(ctx, o.Store, o.UserID)
	if err != nil {
		return err
	}
	// Rules that are too many do not keep anybody from coming in.
	if !rules.CopyRoom(from, to) {
		return nil
	}
	raw, err := rules.JSON()
	if err != nil || len(raw) > maxPushRules {
		return err
	}
	return storeData(ctx, o, "", pushRulesType, raw)
}
