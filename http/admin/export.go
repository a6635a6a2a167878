package admin

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Record is one thing that the server knows of a user. What does not apply is absent.
type Record struct {
	// Kind is account, profile, email, device, account_data, membership, event or file. The last record is of the kind end: without it, something is missing.
	Kind   string         `json:"kind"`
	RoomID string         `json:"room_id,omitzero"`
	Name   string         `json:"name,omitzero"`  // the field, address or type, the membership, or the event's id
	Value  jsontext.Value `json:"value,omitzero"` // as the other operations, or the specification, have it
}

// exported is how many files are looked up at once.
const exported = 1000

// Export writes all that the server knows of a user of its own, one record a line: the account, what it has stored, and what the user has said and
// uploaded. Keys and passwords are none of it.
func (o Operator) Export(ctx context.Context, by By, userID string, to io.Writer) error {
	buffered := bufio.NewWriter(to)
	err := (&export{o: o, userID: userID, to: buffered}).all(ctx)
	if err == nil {
		err = buffered.Flush()
	}
	o.note(ctx, by, "the data of a user are exported", err, slog.String("user", userID))
	return err
}

type export struct {
	o      Operator
	userID string
	to     io.Writer
}

func (e *export) all(ctx context.Context) error {
	for _, part := range []func(context.Context) error{e.account, e.profile, e.emails, e.devices, e.accountData, e.rooms, e.files} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return e.record(Record{Kind: "end"}, nil)
}

// record writes a line. The value is given, or is made of something.
func (e *export) record(r Record, of any) error {
	if of != nil {
		var err error
		if r.Value, err = json.Marshal(of); err != nil {
			return err
		}
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = e.to.Write(append(line, '\n'))
	return err
}

func (e *export) account(ctx context.Context) error {
	u, err := e.o.User(ctx, e.userID)
	if err != nil {
		return err
	}
	return e.record(Record{Kind: "account"}, u)
}

func (e *export) profile(ctx context.Context) error {
	fields, err := account.Profile(ctx, e.o.Store, e.userID)
	if err != nil {
		return err
	}
	for _, f := range fields {
		if err := e.record(Record{Kind: "profile", Name: f.Field, Value: f.Value}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (e *export) emails(ctx context.Context) error {
	return each(ctx, e.o.Store, schema.ThirdPartyIDsByUser, persistence.Range[schema.ThirdPartyIDByUser]{Prefix: schema.ThirdPartyIDByUser{UserID: e.userID}, Keys: 1},
		func(row schema.ThirdPartyIDByUser) error {
			return e.record(Record{Kind: row.Medium, Name: row.Address}, nil)
		})
}

func (e *export) devices(ctx context.Context) error {
	list, err := e.o.Devices(ctx, e.userID)
	if err != nil {
		return err
	}
	for _, d := range list.Devices {
		if err := e.record(Record{Kind: "device", Name: d.DeviceID}, d); err != nil {
			return err
		}
	}
	return nil
}

func (e *export) accountData(ctx context.Context) error {
	return each(ctx, e.o.Store, schema.AccountDatas, persistence.Range[schema.AccountData]{Prefix: schema.AccountData{UserID: e.userID}, Keys: 1},
		func(row schema.AccountData) error {
			return e.record(Record{Kind: "account_data", RoomID: row.RoomID, Name: row.Type, Value: row.Content}, nil)
		})
}

// rooms are the memberships, each with what the user has said in the room.
func (e *export) rooms(ctx context.Context) error {
	return each(ctx, e.o.Store, schema.Memberships, persistence.Range[schema.Membership]{Prefix: schema.Membership{UserID: e.userID}, Keys: 1},
		func(m schema.Membership) error {
			if err := e.record(Record{Kind: "membership", RoomID: m.RoomID, Name: m.Membership}, nil); err != nil {
				return err
			}
			return each(ctx, e.o.Store, schema.Events, schema.Timeline(m.RoomID), func(row schema.Event) error {
				if row.Sender != e.userID || row.Status != schema.Accepted {
					return nil
				}
				return e.record(Record{Kind: "event", RoomID: m.RoomID, Name: row.EventID, Value: row.JSON}, nil)
			})
		})
}

func (e *export) files(ctx context.Context) error {
	if e.o.Media == nil {
		return nil
	}
	for from := ""; ; {
		files, _, err := e.o.Media.OfUser(ctx, e.userID, from, exported)
		if err != nil || len(files) == 0 {
			return err
		}
		for _, f := range files {
			shown := showFile(f)
			if err := e.record(Record{Kind: "file", Name: shown.URI}, shown); err != nil {
				return err
			}
		}
		from = files[len(files)-1].MediaID
	}
}

// each goes through the rows of a range until one gives an error.
func each[R any](ctx context.Context, store persistence.Reader, table *persistence.Table[R], within persistence.Range[R], do func(R) error) error {
	for row, err := range table.Scan(ctx, store, within) {
		if err == nil {
			err = do(row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h handler) exportUser(r *api.Request) (any, error) {
	u, err := h.User(r.Ctx, r.Vars["user"]) // so that what is wrong with the request has an answer of its own
	if err != nil {
		return nil, err
	}
	return api.Stream(func(w http.ResponseWriter, hr *http.Request) error {
		w.Header().Set("Content-Type", "application/x-ndjson")
		return h.Export(hr.Context(), By(r.User()), u.UserID, w)
	}), nil
}
