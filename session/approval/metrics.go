package approval

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is what a server tells a Prometheus. No label holds anything that a
// caller chose: routes are patterns, the rest comes from small tables.
type metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.HistogramVec
	limited  prometheus.Counter
	streams  prometheus.Gauge
}

func newMetrics(s *Store) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "jit_http_request_duration_seconds", Help: "Answered calls by route, method and status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "method", "status"}),
		limited: prometheus.NewCounter(prometheus.CounterOpts{Name: "jit_rate_limited_total", Help: "Calls refused by a caller's rate limit."}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "jit_event_streams", Help: "Open event streams of this replica."}),
	}
	m.registry.MustRegister(m.calls, m.limited, m.streams, &counts{store: s},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler answers a scrape.
func (m *metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	})
}

// counts reads from the database what replicas share, when it is scraped.
type counts struct{ store *Store }

var (
	requestsDesc  = prometheus.NewDesc("jit_requests", "Requests by kind and state.", []string{"kind", "state"}, nil)
	sessionsDesc  = prometheus.NewDesc("jit_sessions", "Sessions by phase.", []string{"phase"}, nil)
	upstreamsDesc = prometheus.NewDesc("jit_upstream_sessions", "Upstream sessions that are open, or wait to be closed.", []string{"state"}, nil)
	storageDesc   = prometheus.NewDesc("jit_storage_up", "1 if the database answers.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *counts) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requestsDesc, sessionsDesc, upstreamsDesc, storageDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. It counts what is under way; the
// history is the audit's.
func (c *counts) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	up := 1.0
	for _, q := range []struct {
		desc  *prometheus.Desc
		query string
		two   bool
	}{
		{requestsDesc, `SELECT kind, state, COUNT(*) FROM requests WHERE state IN ('pending', 'approved') GROUP BY kind, state`, true},
		{sessionsDesc, `SELECT phase, '', COUNT(*) FROM sessions WHERE phase IN ('open', 'closed') GROUP BY phase`, false},
		{upstreamsDesc, `SELECT state, '', COUNT(*) FROM upstreams WHERE state IN ('opening', 'open', 'closing') GROUP BY state`, false},
	} {
		if err := c.count(ctx, ch, q.desc, q.query, q.two); err != nil {
			c.store.log.WarnContext(ctx, "counting for the metrics failed", "error", err)
			up = 0
		}
	}
	ch <- prometheus.MustNewConstMetric(storageDesc, prometheus.GaugeValue, up)
}

func (c *counts) count(ctx context.Context, ch chan<- prometheus.Metric, desc *prometheus.Desc, query string, two bool) error {
	rows, err := c.store.db.read.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			first, second string
			n             int64
		)
		if err := rows.Scan(&first, &second, &n); err != nil {
			return err
		}
		labels := []string{first}
		if two {
			labels = append(labels, second)
		}
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
	}
	return rows.Err()
}

// measure times calls. Event streams are counted while they last instead.
func (m *metrics) measure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/events" {
			m.streams.Inc()
			defer m.streams.Dec()
			next.ServeHTTP(w, r)
			return
		}
		begun := time.Now()
		sw := &statusWriter{ResponseWriter: w}
		route := new(string)
		*route = "unrouted" // or refused before it got that far
		defer func() {      // also when the handler breaks the answer off
			if sw.status == 0 {
				sw.status = http.StatusOK
			}
			m.calls.WithLabelValues(*route, knownMethod(r.Method), strconv.Itoa(sw.status)).Observe(time.Since(begun).Seconds())
		}()
		next.ServeHTTP(sw, r.WithContext(context.WithValue(r.Context(), routeKey{}, route)))
	})
}

type routeKey struct{}

// noteRoute remembers which pattern answers, for measure.
func noteRoute(next http.Handler, pattern func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if route, ok := r.Context().Value(routeKey{}).(*string); ok {
			*route = pattern(r)
		}
		next.ServeHTTP(w, r)
	})
}

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete:
		return m
	}
	return "other"
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
