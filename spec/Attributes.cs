namespace Vcmm.Spec;

/// <summary>How accesses through a mapping use caches.</summary>
public enum CachePolicy
{
    /// <summary>Write-back; a write that misses allocates a line.</summary>
    WriteBackWriteAllocate = 0,

    /// <summary>Write-back; a write that misses goes to memory.</summary>
    WriteBackNoWriteAllocate,

    /// <summary>Write-through.</summary>
    WriteThrough,

    /// <summary>Not cached.</summary>
    NotCached,
}

/// <summary>What a reservation grants, and how it uses caches.</summary>
/// <param name="Permissions">What devices may do.</param>
/// <param name="SupervisorOnly">Whether only requests with supervisor privilege are let through.</param>
/// <param name="Secure">Whether the memory is that of the secure physical address space.</param>
/// <param name="Cache">How caches are used. Tables that cannot say it leave it to the hardware; what protects they must say.</param>
public readonly record struct Attributes(
    Permissions Permissions, bool SupervisorOnly = false, bool Secure = false, CachePolicy Cache = CachePolicy.WriteBackWriteAllocate)
{
    /// <summary>Whether a reservation can have them: something is granted, and every value is a named one.</summary>
    public bool AreValid => Permissions != Permissions.None && (Permissions & ~Permissions.ReadWriteExecute) == 0 && Cache <= CachePolicy.NotCached;

    /// <summary>The permissions, for everybody, not secure, write-back.</summary>
    public static implicit operator Attributes(Permissions permissions) => new(permissions);
}
