package outbound

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
)

// maxGatewayAnswer bounds what is read of a push gateway's answer.
const maxGatewayAnswer = 64 << 10

// PushGateways calls push gateways (Push Gateway API). Without TLS they are reached in the allowed networks only.
type PushGateways struct{ secure, plain *http.Client }

// NewPushGateways makes clients under the policy, which allows no redirects whatever it says.
func NewPushGateways(p Policy) *PushGateways {
	p.Redirects = 0
	plain := p
	plain.OnlyAllowed = true
	return &PushGateways{secure: Client(p), plain: Client(plain)}
}

// Notify posts a notification and gives the push keys that the gateway rejects. What it answers besides is not looked at: it has
// taken the notification.
func (g *PushGateways) Notify(ctx context.Context, url string, body []byte) (rejected []string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if err := CheckURL(r); err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	client := g.secure
	if strings.EqualFold(r.URL.Scheme, "http") {
		client = g.plain
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxGatewayAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, fmt.Errorf("outbound: the push gateway answers %s", resp.Status)
	}
	var answer struct {
		Rejected []string `json:"rejected"`
	}
	if json.Unmarshal(raw, &answer) != nil {
		return nil, nil
	}
	return answer.Rejected, nil
}
