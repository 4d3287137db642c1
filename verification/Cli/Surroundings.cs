using System.Runtime;
using Harness.ModelChecking;
using Harness.Running;
using Harness.Stages;
using Verify.Benching;
using Workloads;

namespace Verify;

/// <summary>Everything outside that a command touches, so that a test can put its own in.</summary>
internal sealed record Surroundings
{
    /// <summary>The stages that exist.</summary>
    public required IReadOnlyList<IStage> Stages { get; init; }

    /// <summary>What <c>verify bench</c> measures.</summary>
    public IReadOnlyList<Row> Rows { get; init; } = [.. AllRows.All, .. ExplorerRows.All];

    /// <summary>Whether each of them is measured in a process of its own.</summary>
    public bool RowsHaveProcesses { get; init; }

    /// <summary>Standard output.</summary>
    public required TextWriter Out { get; init; }

    /// <summary>Standard error.</summary>
    public required TextWriter Error { get; init; }

    /// <summary>Whether a person watches <see cref="Out"/>: colours and a progress bar.</summary>
    public bool Terminal { get; init; }

    /// <summary>Columns of <see cref="Out"/>.</summary>
    public int WidthColumns { get; init; } = 120;

    /// <summary>What relative paths are relative to.</summary>
    public required string Directory { get; init; }

    /// <summary>The clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>How many methods the JIT has compiled so far.</summary>
    public Func<long> CompiledMethodCount { get; init; } = static () => JitInfo.GetCompiledMethodCount();

    /// <summary>What <c>verify model</c> searches; null: the model itself.</summary>
    public Judge? Model { get; init; }

    /// <summary>The library that <c>verify model --library</c> searches, or parts that stand in; null: the library itself.</summary>
    public SubjectParts? Library { get; init; }

    /// <summary>The worker that explores schedules, in its folder of rewritten assemblies.</summary>
    public string ScheduleWorker { get; init; } = Verify.Stages.ScheduleWorker;

    /// <summary>Runs another program.</summary>
    public RunTool Tool { get; init; } = Tools.Run;

    /// <summary>Asks another program.</summary>
    public AskTool Ask { get; init; } = Tools.Ask;

    /// <summary>Set when the user wants to stop.</summary>
    public CancellationToken Stop { get; init; }

    /// <summary>A path as the system takes it.</summary>
    public string Resolve(string path) => Path.GetFullPath(path, Directory);
}
