using System.Diagnostics;
using System.Reflection;
using System.Runtime.InteropServices;
using Verify.Output;

namespace Verify.Benching;

/// <summary>What figures depend on and cannot say themselves.</summary>
/// <param name="Runtime">The runtime and its version.</param>
/// <param name="Architecture">The processor's.</param>
/// <param name="ProcessorCount">How many processors the process may use.</param>
/// <param name="IsOptimized">Whether the library is a Release build.</param>
internal sealed record Machine(string Runtime, string Architecture, int ProcessorCount, bool IsOptimized)
{
    /// <summary>This one.</summary>
    public static Machine Here { get; } = new(
        RuntimeInformation.FrameworkDescription,
        RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant(),
        Environment.ProcessorCount,
        typeof(Vcmm.VcmManager).Assembly.GetCustomAttribute<DebuggableAttribute>() is not { IsJITOptimizerDisabled: true });

    /// <inheritdoc/>
    public override string ToString() =>
        $"{Runtime} {Architecture}, {Line.Count(ProcessorCount, "processor")}{(IsOptimized ? "" : ", a Debug build: the figures say nothing")}";
}
