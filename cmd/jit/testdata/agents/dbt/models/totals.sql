select customer_id, sum(amount) as total from {{ ref('paid_orders') }} group by customer_id
