using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Concurrency;

/// <summary>Keeps the process on one processor: the next task of a schedule then starts in microseconds.</summary>
internal static class OneProcessor
{
    [ModuleInitializer]
    internal static void Stay()
    {
        if (!OperatingSystem.IsLinux() && !OperatingSystem.IsWindows()) return;
        Process self = Process.GetCurrentProcess();
        nint allowed = self.ProcessorAffinity;
        self.ProcessorAffinity = allowed & -allowed;
    }
}
