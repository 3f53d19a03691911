package sandbox

import (
	"fmt"
	"strings"
	"time"
)

// sampleCustomers is how many people the sample data invents.
const sampleCustomers = 50

// SampleData are the statements that make the sandbox's world: DEMO with
// customers, orders, products and a view of totals, ANALYTICS with events, and
// OLD_REPORTS, which is there to be dropped. Every person is invented: the
// e-mail addresses are in example.com, the telephone numbers in the 555-01xx
// range kept for fiction, the social security numbers in the 9xx area that is
// never issued.
func SampleData() []string {
	data := []string{
		"CREATE DATABASE DEMO",
		`CREATE TABLE DEMO.PUBLIC.CUSTOMERS (ID NUMBER(38,0) NOT NULL, NAME VARCHAR(100), EMAIL VARCHAR(200), PHONE VARCHAR(20), SSN VARCHAR(11),
			CITY VARCHAR(60), CREATED_AT TIMESTAMP_NTZ(9), BALANCE NUMBER(12,2), ACTIVE BOOLEAN, BIRTHDAY DATE, PROFILE VARIANT)`,
		"CREATE TABLE DEMO.PUBLIC.PRODUCTS (ID NUMBER(38,0) NOT NULL, NAME VARCHAR(100), PRICE NUMBER(10,2), WEIGHT FLOAT)",
		"CREATE TABLE DEMO.PUBLIC.ORDERS (ID NUMBER(38,0) NOT NULL, CUSTOMER_ID NUMBER(38,0), PRODUCT_ID NUMBER(38,0), AMOUNT NUMBER(12,2), STATUS VARCHAR(20), ORDERED_AT TIMESTAMP_NTZ(9))",
	}
	data = append(data, customers()...)
	data = append(data, products(), orders(),
		`CREATE VIEW DEMO.PUBLIC.ORDER_TOTALS AS SELECT c.ID AS CUSTOMER_ID, c.NAME AS NAME, COUNT(*) AS ORDERS, SUM(o.AMOUNT) AS TOTAL
			FROM DEMO.PUBLIC.CUSTOMERS c JOIN DEMO.PUBLIC.ORDERS o ON o.CUSTOMER_ID = c.ID GROUP BY c.ID, c.NAME`,
		"CREATE DATABASE ANALYTICS",
		"CREATE SCHEMA ANALYTICS.WEB",
		"CREATE TABLE ANALYTICS.WEB.EVENTS (ID NUMBER(38,0), CUSTOMER_ID NUMBER(38,0), KIND VARCHAR(20), IP VARCHAR(15), AT TIMESTAMP_NTZ(3))",
		events(),
		"CREATE DATABASE OLD_REPORTS",
		"CREATE TABLE OLD_REPORTS.PUBLIC.REPORT_2019 (ID NUMBER(38,0), TITLE VARCHAR(100))",
		"INSERT INTO OLD_REPORTS.PUBLIC.REPORT_2019 VALUES (1, 'Quarter 1'), (2, 'Quarter 2'), (3, 'Quarter 3'), (4, 'Quarter 4')",
	)
	return data
}

func customers() []string {
	first := []string{"Ada", "Bram", "Chloé", "Dara", "Emil", "Farah", "Goran", "Hana", "Ivo", "Jaya"}
	last := []string{"Example", "Sampleton", "Testa", "Mockridge", "Fiktiv"}
	cities := []string{"Springfield", "Lakeview", "Rivertown", "Hillcrest", "Zürich"}
	start := time.Date(2021, 1, 4, 8, 30, 0, 0, time.UTC)
	var rows []string
	for i := range sampleCustomers {
		f, l := first[i%len(first)], last[(i/len(first))%len(last)]
		name := f + " " + l
		email := strings.ToLower(strings.ReplaceAll(f, "é", "e")+"."+l) + "@example.com"
		birthday := time.Date(1950+i, time.Month(1+i%12), 1+i%28, 0, 0, 0, 0, time.UTC)
		profile := fmt.Sprintf(`{"tier":"%s","tags":["a%d","b"],"visits":%d}`, []string{"gold", "silver", "bronze"}[i%3], i, 3*i)
		phone, city := literal(fmt.Sprintf("+1-555-010-%04d", 100+i)), literal(cities[i%len(cities)])
		if i%10 == 9 {
			phone = "NULL"
		}
		rows = append(rows, fmt.Sprintf("(%d, %s, %s, %s, '%03d-%02d-%04d', %s, '%s', %d.%02d, %t, '%s', %s)",
			i+1, literal(name), literal(email), phone, 900+i, 10+i%80, 1000+37*i, city,
			start.Add(time.Duration(i)*(13*time.Hour+7*time.Second)).Format(formTimestamp), 100*i, (i*7)%100, i%4 != 3,
			birthday.Format(formDate), literal(profile)))
	}
	return []string{"INSERT INTO DEMO.PUBLIC.CUSTOMERS VALUES " + strings.Join(rows, ",\n")}
}

func products() string {
	return `INSERT INTO DEMO.PUBLIC.PRODUCTS VALUES (1, 'Paper clip', 0.05, 0.4), (2, 'Stapler', 12.50, 310.25), (3, 'Desk lamp', 39.90, 1480.5),
		(4, 'Office chair', 249.00, 14200), (5, 'Whiteboard', 89.99, 5300.75)`
}

func orders() string {
	start := time.Date(2024, 2, 1, 9, 0, 0, 0, time.UTC)
	status := []string{"NEW", "PAID", "SHIPPED", "RETURNED"}
	var rows []string
	for i := range 3 * sampleCustomers {
		rows = append(rows, fmt.Sprintf("(%d, %d, %d, %d.%02d, '%s', '%s')", 1000+i, 1+(i*7)%sampleCustomers, 1+i%5, 5+(i*31)%400, (i*13)%100,
			status[i%len(status)], start.Add(time.Duration(i)*97*time.Minute).Format(formTimestamp)))
	}
	return "INSERT INTO DEMO.PUBLIC.ORDERS VALUES " + strings.Join(rows, ",\n")
}

func events() string {
	start := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	kinds := []string{"view", "click", "buy"}
	var rows []string
	for i := range 200 {
		rows = append(rows, fmt.Sprintf("(%d, %d, '%s', '192.0.2.%d', '%s')", i+1, 1+i%sampleCustomers, kinds[i%3], 1+i%250,
			start.Add(time.Duration(i)*11*time.Minute).Format(formTimestamp)))
	}
	return "INSERT INTO ANALYTICS.WEB.EVENTS VALUES " + strings.Join(rows, ",\n")
}
