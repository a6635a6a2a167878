package client

import "github.com/matrixon/matrixon/http/api"

// RTC is what calls of many people go through (MSC4143, MSC4195).
type RTC struct {
	// LiveKit are the URLs of the services that let users into LiveKit SFUs, the preferred one first.
	LiveKit []string
}

// Transports are the transports as clients are told of them.
func (t RTC) Transports() []map[string]string {
	transports := make([]map[string]string, len(t.LiveKit))
	for i, url := range t.LiveKit {
		transports[i] = map[string]string{"type": "livekit", "livekit_service_url": url}
	}
	return transports
}

// Endpoints lets clients ask for the transports.
func (t RTC) Endpoints() []api.Endpoint {
	return []api.Endpoint{{Methods: get, Path: v1 + "/rtc/transports", Also: []string{"/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"},
		Auth: api.User, Limit: api.LimitRead, Handler: func(*api.Request) (any, error) {
			return map[string]any{"rtc_transports": t.Transports()}, nil
		}}}
}
