namespace IommuSim.Machinery;

/// <summary>What paging entries grant.</summary>
[Flags]
internal enum Rights : byte
{
    None = 0,
    Read = 1,
    Write = 2,

    /// <summary>Requests without supervisor privilege.</summary>
    User = 4,
    Execute = 8,

    /// <summary>Writes of a supervisor where pages that forbid writes do not stop one.</summary>
    SupervisorWrite = 16,
    All = Read | Write | User | Execute | SupervisorWrite,
}
