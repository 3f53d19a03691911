import java.io.File;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Properties;
import net.snowflake.client.api.driver.SnowflakeDriver;
import net.snowflake.client.api.statement.SnowflakeStatement;
// The driver's jar carries Jackson; the agent reads and writes JSON with it.
import net.snowflake.client.jdbc.internal.fasterxml.jackson.databind.JsonNode;
import net.snowflake.client.jdbc.internal.fasterxml.jackson.databind.ObjectMapper;
import net.snowflake.client.jdbc.internal.fasterxml.jackson.databind.node.ArrayNode;
import net.snowflake.client.jdbc.internal.fasterxml.jackson.databind.node.ObjectNode;

/**
 * The Java half of the end-to-end suite: an agent that knows nothing of jit.
 *
 * <p>It connects by the connection file, as a program does that relies on it, and runs the steps it
 * is given, one JSON line of outcome each. Steps and lines are those of goagent.
 *
 * <p>Usage: java Agent JSON|ARROW STEPS.json
 */
public final class Agent {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    Properties wanted = new Properties();
    wanted.put("JDBC_QUERY_RESULT_FORMAT", args[0]);
    JsonNode steps = JSON.readTree(new File(args[1]));
    System.out.println(JSON.writeValueAsString(JSON.createObjectNode().put("about", about())));
    Connection connection = null;
    for (int i = 0; i < steps.size(); i++) {
      JsonNode step = steps.get(i);
      ObjectNode line = JSON.createObjectNode();
      line.put("step", i).put("sql", step.path("sql").asText());
      long began = System.nanoTime();
      await(step.path("wait_file").asText());
      try {
        if (connection == null) {
          connection = DriverManager.getConnection("jdbc:snowflake:auto?connectionName=default", wanted);
        }
        run(connection, step, line);
      } catch (SQLException e) {
        ObjectNode error = line.putObject("error");
        error.put("class", e.getClass().getName());
        error.put("code", e.getErrorCode() > 0 ? String.format(Locale.ROOT, "%06d", e.getErrorCode()) : "");
        error.put("sqlstate", e.getSQLState() == null ? "" : e.getSQLState());
        error.put("message", String.valueOf(e.getMessage()));
      } catch (RuntimeException e) { // what the driver cannot read
        ObjectNode error = line.putObject("error");
        error.put("class", e.getClass().getName()).put("code", "").put("sqlstate", "");
        error.put("message", String.valueOf(e.getMessage()));
      }
      line.put("ms", (System.nanoTime() - began) / 1_000_000);
      System.out.println(JSON.writeValueAsString(line));
      System.out.flush();
    }
    if (connection != null) {
      connection.close();
    }
    System.exit(0); // the driver leaves threads behind
  }

  private static String about() {
    return "snowflake-jdbc " + SnowflakeDriver.class.getPackage().getImplementationVersion();
  }

  /** Waits until a file exists; no name is there at once. */
  private static void await(String file) throws InterruptedException {
    long deadline = System.nanoTime() + 300_000_000_000L;
    while (!file.isEmpty() && !new File(file).exists()) {
      if (System.nanoTime() > deadline) {
        throw new IllegalStateException(file + " never appeared");
      }
      Thread.sleep(20);
    }
  }

  private static void run(Connection connection, JsonNode step, ObjectNode line) throws Exception {
    String sql = step.path("sql").asText();
    if (step.path("bulk").asInt() > 0) {
      bulk(connection, step);
      line.set("columns", JSON.createArrayNode());
      line.set("rows", JSON.createArrayNode());
    } else if (step.path("multi").asInt() > 0) {
      try (Statement statement = connection.createStatement()) {
        statement.unwrap(SnowflakeStatement.class).setParameter("MULTI_STATEMENT_COUNT", step.path("multi").asInt());
        for (boolean more = statement.execute(sql); more; more = statement.getMoreResults()) {
          read(statement.getResultSet(), step, line);
        }
      }
    } else if (step.path("async").asBoolean()) {
      try (Statement statement = connection.createStatement();
          ResultSet result = statement.unwrap(SnowflakeStatement.class).executeAsyncQuery(sql)) {
        read(result, step, line);
      }
    } else {
      query(connection, step, line);
    }
  }

  /** Binds an array, as a batch does. */
  private static void bulk(Connection connection, JsonNode step) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(step.path("sql").asText())) {
      for (int i = 1; i <= step.path("bulk").asInt(); i++) {
        statement.setLong(1, i);
        statement.setString(2, "note " + i);
        statement.addBatch();
      }
      statement.executeBatch();
    }
  }

  private static void query(Connection connection, JsonNode step, ObjectNode line) throws Exception {
    try (PreparedStatement statement = connection.prepareStatement(step.path("sql").asText())) {
      JsonNode binds = step.path("binds");
      for (int i = 0; i < binds.size(); i++) {
        if (binds.get(i).isNumber()) {
          statement.setLong(i + 1, binds.get(i).asLong());
        } else {
          statement.setString(i + 1, binds.get(i).isNull() ? null : binds.get(i).asText());
        }
      }
      String cancel = step.path("cancel_file").asText();
      if (!cancel.isEmpty()) {
        Thread waiting = new Thread(() -> cancelWhen(cancel, statement));
        waiting.setDaemon(true);
        waiting.start();
      }
      line.set("columns", JSON.createArrayNode());
      line.set("rows", JSON.createArrayNode());
      if (statement.execute()) {
        read(statement.getResultSet(), step, line);
      }
    }
  }

  private static void cancelWhen(String file, Statement statement) {
    try {
      await(file);
      statement.cancel();
    } catch (InterruptedException | SQLException e) {
      System.err.println("canceling: " + e);
    }
  }

  /** Reads one result set; rows are added to those the line has. */
  private static void read(ResultSet open, JsonNode step, ObjectNode line) throws Exception {
    boolean exact = step.path("exact").asBoolean();
    boolean digest = step.path("digest").asBoolean();
    try (ResultSet result = open) {
      ResultSetMetaData about = result.getMetaData();
      int width = about.getColumnCount();
      ArrayNode columns = line.putArray("columns");
      MessageDigest[] sums = new MessageDigest[width];
      for (int c = 1; c <= width; c++) {
        String type = about.getColumnTypeName(c);
        if (exact) {
          type += " " + about.getPrecision(c) + " " + about.getScale(c) + " " + about.isNullable(c) + " " + about.getColumnClassName(c);
        }
        columns.addObject().put("name", about.getColumnLabel(c)).put("type", type);
        sums[c - 1] = MessageDigest.getInstance("SHA-256");
      }
      ArrayNode rows = line.withArray("rows");
      int count = 0;
      while (result.next()) {
        count++;
        ArrayNode row = JSON.createArrayNode();
        for (int c = 1; c <= width; c++) {
          String cell = text(result, c, exact);
          if (digest) {
            sums[c - 1].update(((cell == null ? "\0" : cell) + "\n").getBytes(StandardCharsets.UTF_8));
          } else {
            row.add(cell);
          }
        }
        if (!digest) {
          rows.add(row);
        }
      }
      if (digest) {
        line.put("count", count);
        ArrayNode digests = line.putArray("digests");
        for (MessageDigest sum : sums) {
          digests.add(HexFormat.of().formatHex(sum.digest()));
        }
      }
    }
  }

  /** A cell as text; exact: as the driver's own type says it, too. */
  private static String text(ResultSet result, int c, boolean exact) throws SQLException {
    String plain = result.getString(c);
    if (!exact || plain == null) {
      return plain;
    }
    Object value = result.getObject(c);
    if (value == null) {
      return "null " + plain;
    }
    String own = value instanceof byte[] b ? HexFormat.of().formatHex(b) : value.getClass().isArray() || value.toString().startsWith(value.getClass().getName() + "@") ? "" : value.toString();
    return value.getClass().getName() + " " + own + " " + plain;
  }
}
