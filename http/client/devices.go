package client

import (
	"net/http"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

func (a *accounts) devices() []api.Endpoint {
	const device = "/_matrix/client/v3/devices/{deviceId}"
	return []api.Endpoint{
		{Methods: get, Path: "/_matrix/client/v3/devices", R0: true, Auth: api.User, Handler: a.listDevices},
		{Methods: get, Path: device, R0: true, Auth: api.User, Handler: a.getDevice},
		{Methods: put, Path: device, R0: true, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.putDevice},
		{Methods: remove, Path: device, R0: true, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.deleteDevice},
		{Methods: post, Path: "/_matrix/client/v3/delete_devices", R0: true, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.deleteDevices},
	}
}

type clientDevice struct {
	DeviceID    string `json:"device_id"`
	DisplayName string `json:"display_name,omitzero"`
	LastSeenIP  string `json:"last_seen_ip,omitzero"`
	LastSeenTS  int64  `json:"last_seen_ts,omitzero"`
}

func toClient(d schema.Device) clientDevice {
	return clientDevice{d.DeviceID, d.DisplayName, d.LastSeenIP, d.LastSeenTS}
}

func (a *accounts) listDevices(r *api.Request) (any, error) {
	rows, err := account.Devices(r.Ctx, a.Store, r.User())
	if err != nil {
		return nil, err
	}
	devices := make([]clientDevice, len(rows))
	for i, d := range rows {
		devices[i] = toClient(d)
	}
	return map[string]any{"devices": devices}, nil
}

func (a *accounts) getDevice(r *api.Request) (any, error) {
	d, ok, err := schema.Devices.Get(r.Ctx, a.Store, schema.Device{UserID: r.User(), DeviceID: r.Vars["deviceId"]})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.NotFound("you have no such device")
	}
	return toClient(d), nil
}

// putDevice renames a device. Application services may make one (since v1.17).
func (a *accounts) putDevice(r *api.Request) (any, error) {
	var q struct {
		DisplayName *string `json:"display_name"`
	}
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.DisplayName != nil && len(*q.DisplayName) > maxDeviceName {
		return nil, mxerr.InvalidParam("display_name is longer than %d bytes", maxDeviceName)
	}
	if len(r.Vars["deviceId"]) > maxDeviceID {
		return nil, mxerr.InvalidParam("the device id is longer than %d bytes", maxDeviceID)
	}
	done, err := AskUser[*messages.DeviceUpdated](r.Ctx, a.Deps, r.User(), &messages.UpdateDevice{
		DeviceId: r.Vars["deviceId"], DisplayName: q.DisplayName, Create: r.Session.Appservice != "",
	})
	if err != nil {
		return nil, err
	}
	if done.Created {
		return api.Answer{Status: http.StatusCreated}, nil
	}
	return nil, nil
}

func (a *accounts) deleteDevice(r *api.Request) (any, error) {
	return nil, a.removeDevices(r, r.Vars["deviceId"])
}

func (a *accounts) deleteDevices(r *api.Request) (any, error) {
	var q struct {
		Devices *[]string `json:"devices"`
	}
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.Devices == nil {
		return nil, mxerr.MissingParam("devices is required")
	}
	return nil, a.removeDevices(r, *q.Devices...)
}

// removeDevices deletes devices of a user who has proved to be there; application services need no proof.
func (a *accounts) removeDevices(r *api.Request, devices ...string) error {
	if r.Session.Appservice == "" {
		if _, err := a.o.UIA.Require(r, uia.ByPassword); err != nil {
			return err
		}
	}
	err := a.ask(r, r.User(), &messages.RemoveDevices{DeviceIds: devices})
	a.o.Sessions.Forget(r.User())
	return err
}
