package approval

import (
	"context"
	"net/http"
	"net/url"

	"github.com/jit-access/jit/session/secret"
)

type webhooksDoc struct {
	Webhooks []Webhook `json:"webhooks"`
}

type deliveriesDoc struct {
	Deliveries []Delivery `json:"deliveries"`
}

type addWebhookInput struct {
	Body struct {
		Webhook Webhook `json:"webhook"`
		URL     string  `json:"url" writeOnly:"true" maxLength:"2048" doc:"never read back: with some receivers it is what lets one post"`
	}
}

type addedWebhookDoc struct {
	Webhook Webhook `json:"webhook"`
	Secret  string  `json:"secret" doc:"signs the messages; shown this once"`
}

func (s *Server) webhookRoutes() {
	handle(s, http.MethodGet, "/v1/webhooks", "webhooks", "Webhooks (admins)", maxBody,
		func(ctx context.Context, w Caller, _ *struct{}) (*body[webhooksDoc], error) {
			list, err := s.store.webhooks(ctx, w)
			return &body[webhooksDoc]{webhooksDoc{list}}, err
		})
	handle(s, http.MethodPost, "/v1/webhooks", "addWebhook", "Add a webhook (admins)", maxBody,
		func(ctx context.Context, w Caller, in *addWebhookInput) (*body[addedWebhookDoc], error) {
			h, key, err := s.store.addWebhook(ctx, w, in.Body.Webhook, secret.New(in.Body.URL))
			// The one time that the key leaves the server.
			return &body[addedWebhookDoc]{addedWebhookDoc{h, key.Reveal()}}, err
		})
	handle(s, http.MethodDelete, "/v1/webhooks/{name}", "removeWebhook", "Remove a webhook (admins)", maxBody,
		func(ctx context.Context, w Caller, in *nameParam) (*struct{}, error) {
			return nil, s.store.removeWebhook(ctx, w, in.Name)
		})
	handle(s, http.MethodGet, "/v1/deliveries", "deadDeliveries", "Messages that could not be delivered (admins)", maxBody,
		func(ctx context.Context, w Caller, _ *struct{}) (*body[deliveriesDoc], error) {
			list, err := s.store.deadDeliveries(ctx, w)
			return &body[deliveriesDoc]{deliveriesDoc{list}}, err
		})
	handle(s, http.MethodPost, "/v1/deliveries/{id}/retry", "retryDelivery", "Try a message again (admins)", maxBody,
		func(ctx context.Context, w Caller, in *IDParam) (*struct{}, error) {
			return nil, s.store.retryDelivery(ctx, w, in.ID)
		})
}

// Webhooks lists the webhooks.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	var doc webhooksDoc
	err := c.t.call(ctx, http.MethodGet, "/v1/webhooks", nil, &doc)
	return doc.Webhooks, err
}

// AddWebhook adds a webhook and returns the secret that signs its messages.
func (c *Client) AddWebhook(ctx context.Context, h Webhook, target secret.Text) (Webhook, secret.Text, error) {
	var in addWebhookInput
	in.Body.Webhook, in.Body.URL = h, target.Reveal()
	var doc addedWebhookDoc
	err := c.t.call(ctx, http.MethodPost, "/v1/webhooks", in.Body, &doc)
	return doc.Webhook, secret.New(doc.Secret), err
}

// RemoveWebhook forgets a webhook.
func (c *Client) RemoveWebhook(ctx context.Context, name string) error {
	return c.t.call(ctx, http.MethodDelete, "/v1/webhooks/"+url.PathEscape(name), nil, nil)
}

// DeadDeliveries lists messages that could not be delivered.
func (c *Client) DeadDeliveries(ctx context.Context) ([]Delivery, error) {
	var doc deliveriesDoc
	err := c.t.call(ctx, http.MethodGet, "/v1/deliveries", nil, &doc)
	return doc.Deliveries, err
}

// RetryDelivery tries a message again.
func (c *Client) RetryDelivery(ctx context.Context, id string) error {
	return c.t.call(ctx, http.MethodPost, "/v1/deliveries/"+url.PathEscape(id)+"/retry", nil, nil)
}
