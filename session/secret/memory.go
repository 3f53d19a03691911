package secret

import (
	"context"
	"sync"
)

// memory is a Store that ends with the process.
type memory struct {
	mu     sync.Mutex // guards values
	values map[string]Text
}

// NewMemory returns a Store that keeps secrets in this process only.
func NewMemory() Store { return newMemory() }

func newMemory() *memory { return &memory{values: map[string]Text{}} }

func (m *memory) Get(_ context.Context, key string) (Text, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if !ok {
		return Text{}, ErrNotFound
	}
	return v, nil
}

func (m *memory) Set(_ context.Context, key string, value Text) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] = value
	return nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	return nil
}

func (*memory) Backend() Backend { return BackendMemory }
