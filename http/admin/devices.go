package admin

import (
	"context"
	"log/slog"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// Device is a device of a user, as operators see it. What is not known is absent.
type Device struct {
	DeviceID    string `json:"device_id"`
	DisplayName string `json:"display_name,omitzero"`
	CreatedTS   int64  `json:"created_ts,omitzero"`   // ms
	LastSeenTS  int64  `json:"last_seen_ts,omitzero"` // ms
	LastSeenIP  string `json:"last_seen_ip,omitzero"`
	UserAgent   string `json:"user_agent,omitzero"`
	Encrypts    bool   `json:"encrypts"` // it has published identity keys
}

// Devices are all of a user.
type Devices struct {
	Devices []Device `json:"devices"`
}

// LogOut says which devices of a user to delete: those that are named, or all.
type LogOut struct {
	Devices []string `json:"devices,omitzero"`
	All     bool     `json:"all,omitempty"`
}

// Devices lists the devices of a user.
func (o Operator) Devices(ctx context.Context, name string) (Devices, error) {
	u, err := o.User(ctx, name)
	if err != nil {
		return Devices{}, err
	}
	rows, err := account.Devices(ctx, o.Store, u.UserID)
	if err != nil {
		return Devices{}, err
	}
	list := Devices{Devices: make([]Device, len(rows))}
	for i, d := range rows {
		list.Devices[i] = Device{DeviceID: d.DeviceID, DisplayName: d.DisplayName, CreatedTS: d.CreatedTS, LastSeenTS: d.LastSeenTS, LastSeenIP: d.LastSeenIP,
			UserAgent: d.UserAgent, Encrypts: d.Keys != nil}
	}
	return list, nil
}

// LogOut deletes devices of a user, with their sessions and keys, and gives those that are left. A device that is not there is no error.
func (o Operator) LogOut(ctx context.Context, by By, name string, which LogOut) (Devices, error) {
	u, err := o.User(ctx, name)
	if err != nil {
		return Devices{}, err
	}
	if which.All == (len(which.Devices) > 0) {
		return Devices{}, mxerr.InvalidParam("name the devices to log out, or all")
	}
	_, err = o.Node.Ask(ctx, cluster.Identity{Kind: cluster.KindUser, ID: u.UserID}, &messages.RemoveDevices{DeviceIds: which.Devices, All: which.All})
	o.note(ctx, by, "devices are logged out", err, slog.String("user", u.UserID), slog.Any("devices", which.Devices), slog.Bool("all", which.All))
	if err != nil {
		return Devices{}, err
	}
	o.Sessions.Forget(u.UserID)
	return o.Devices(ctx, u.UserID)
}

func (h handler) listDevices(r *api.Request) (any, error) { return h.Devices(r.Ctx, r.Vars["user"]) }

func (h handler) logOut(r *api.Request) (any, error) {
	var which LogOut
	if err := r.Decode(&which); err != nil {
		return nil, err
	}
	return h.LogOut(r.Ctx, By(r.User()), r.Vars["user"], which)
}
