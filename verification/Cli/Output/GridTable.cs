using Mutation.Report;
using Spectre.Console;

namespace Verify.Output;

/// <summary>A report's tables on a terminal.</summary>
internal static class GridTable
{
    /// <summary>Prints a table.</summary>
    public static void Print(ReportGrid grid, Surroundings here)
    {
        Table table = new Table().Border(TableBorder.Square);
        for (int i = 0; i < grid.Columns.Count; i++)
        {
            var column = new TableColumn(new Text(grid.Columns[i]));
            table.AddColumn(i < grid.WordColumns ? column : column.RightAligned());
        }

        foreach (IReadOnlyList<string> row in grid.Rows) table.AddRow(row.Select(static cell => new Text(Line.Of(cell))));
        RunTable.ConsoleOf(here).Write(table);
    }

    /// <summary>Prints what each engine finds.</summary>
    public static void Print(KillMatrix matrix, Surroundings here)
    {
        Print(ReportGrid.Engines(matrix), here);
        foreach (string remark in ReportGrid.RemarksOn(matrix)) here.Out.WriteLine(remark);
    }
}
